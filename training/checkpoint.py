"""Writes and reads checkpoints, from which a run resumes exactly; each is complete or does not count.

A checkpoint is a folder, `step-00000100`, with safetensors written by torch's distributed checkpointing (each rank
writes its own part, and any number of ranks can read them) and `commit.json`, which holds the rest of the state and the
size and hash of each of those files. The folder gets its name last, by one rename; until then it is `.tmp-...` and
readers ignore it.

- Trainable weights are saved with their moments. Frozen weights are not: a run loads them again from their source, and
  compares their hash with the one in the commit.
- The schedule and the random numbers are functions of the step, and the data's state is its cursor: neither has a file.
- No file is a pickle. (torch's own format has one, `.metadata`; that of Hugging Face, used here, has none.)
"""

import contextlib
import json
import os
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException  # not an Exception
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_loader import load as load_distributed
from torch.distributed.checkpoint.state_dict_saver import save as save_distributed

from schemas.errors import ShardloomError, UsageError, to_one_line
from schemas.log import LOG
from schemas.storage.disk import TEMPORARY
from schemas.storage.folder import Folder
from training.optimizer import collect_optimizer_state, select_trainable
from training.parallel import Ranks
from training.recipe import CheckpointOptions

COMMIT_FILE = "commit.json"
FORMAT_VERSION = 1
MAX_FILE_BYTES = 2 << 30  # at most in one file, because a file is assembled in memory

_FAULT_KEY = "fault"

_IN_MEMORY_STAGING = StagingOptions(
    use_pinned_memory=False, use_shared_memory=False, use_async_staging=False, use_non_blocking_copy=False
)


@dataclass(frozen=True, slots=True)
class RunState:
    """Holds the state of a run after `step` steps."""

    step: int
    cursor: dict[str, Any]  # place in the data at which the next step begins
    data: dict[str, str]  # fingerprints of everything that the order of the data depends on
    frozen: str  # hash of the frozen weights, which are not saved
    recipe: dict[str, Any]
    seen: dict[str, int]  # totals of tokens, images, left-out samples and so on, for reports
    working_folder: str = ""  # in which the run was started: the recipe's relative paths are relative to it


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Describes an intact checkpoint."""

    folder: Path
    state: RunState
    files: dict[str, tuple[int, str]]  # size in bytes and hash, by name


def format_checkpoint_name(step: int) -> str:
    """Returns the folder name of the checkpoint after `step` steps."""
    return f"step-{step:08d}"


class CheckpointSaver:
    """Writes checkpoints into a folder, in a thread or not, and removes the older ones.

    A checkpoint that can't be written is reported and dropped, and those before it stay, so that a full disk does not
    end a run. `failure` is the error of the last checkpoint, or None.
    """

    def __init__(self, folder: Path, options: CheckpointOptions, ranks: Ranks, best_step: int | None = None) -> None:
        """Takes the step of the best checkpoint so far, which is kept, however old it is, until a better is written."""
        self.folder, self.options, self.ranks = folder, options, ranks
        self.best_step = best_step
        self.failure: str | None = None
        self._saved_step: int | None = None
        self._stager = DefaultStager(_IN_MEMORY_STAGING)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self.ranks.is_first:
            for leftover in self.folder.glob(f"{TEMPORARY}*"):  # from killed runs
                shutil.rmtree(leftover, ignore_errors=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wait()
        self._stager.close()

    def save(self, model: nn.Module, optimizer: torch.optim.AdamW, state: RunState, is_best: bool = False) -> None:
        """Starts a checkpoint once the previous one is written. After it returns the weights may change again."""
        self.wait()
        if self._saved_step == state.step:
            return
        staged = self._stager.stage(collect_tensors(model, optimizer))
        assert isinstance(staged, dict)
        arguments = (staged, state, is_best)
        self._thread = threading.Thread(target=self._write_and_prune, args=arguments, name="checkpoint")
        self._thread.start()
        if not self.options.asynchronous:
            self.wait()

    def wait(self) -> None:
        """Waits until no checkpoint is being written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _write_and_prune(self, staged: dict[str, Tensor], state: RunState, is_best: bool) -> None:
        try:
            _write_checkpoint(self.folder, staged, state, self.ranks)
        except (Exception, CheckpointException) as error:  # noqa: BLE001  training continues after any error
            self.failure = f"checkpoint after step {state.step} was not written: {_describe_cause(error)}"
            if self.ranks.is_first:
                shutil.rmtree(self.folder / _format_temporary_name(state.step), ignore_errors=True)
                last = "the previous one stays" if list_checkpoints(self.folder) else "there is none yet"
                LOG.warning(f"{self.failure}; {last}, training continues")
            return
        self.failure, self._saved_step = None, state.step
        self.best_step = state.step if is_best else self.best_step
        if self.ranks.is_first:
            there, own = list_checkpoints(self.folder), format_checkpoint_name(state.step)
            later = [name for name in there if name > own]  # damaged, or of steps that the run has gone back from
            best = None if self.best_step is None else format_checkpoint_name(self.best_step)
            older = [name for name in there if name <= own][self.options.keep :]
            for name in [*later, *(name for name in older if name != best)]:
                shutil.rmtree(self.folder / name, ignore_errors=True)


def collect_tensors(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """Returns the tensors to save, by name: trainable weights and their moments. Shards stay shards."""
    found: dict[str, Tensor] = {}
    weights = select_trainable(model)
    for name, state in collect_optimizer_state(model, optimizer).items():
        found[f"model.{name}"] = weights[name].detach()
        found[f"exp_avg.{name}"], found[f"exp_avg_sq.{name}"] = state["exp_avg"], state["exp_avg_sq"]
        found[f"step.{name}"] = state["step"].reshape(1)
    return found


def find_latest(folder: Path, ranks: Ranks) -> Checkpoint | None:
    """Returns the newest intact checkpoint, or None if the folder has no checkpoint; reports each damaged one.

    Raises `ShardloomError` when all of them are damaged.
    """
    found = json.loads(ranks.broadcast("checkpoints", json.dumps(list_checkpoints(folder))))
    for name in found:
        checkpoint, fault = _try_open(folder / name, ranks)
        if checkpoint is not None:
            return checkpoint
        if ranks.is_first:
            LOG.warning(f"{folder / name} is damaged and skipped: {fault}")
    if found:
        raise ShardloomError(f"{folder}: none of {len(found)} checkpoints is intact; start again with another --output")
    return None


def is_checkpoint(path: Path) -> bool:
    """Returns whether a folder holds a checkpoint, which may be damaged."""
    return (path / COMMIT_FILE).is_file()


def open_checkpoint(path: Path, ranks: Ranks, check_hashes: bool = True) -> Checkpoint:
    """Opens the checkpoint in this folder. Raises `UsageError` when there is none, or it is damaged."""
    checkpoint, fault = _try_open(path, ranks, check_hashes)
    if checkpoint is None:
        raise UsageError(f"{path} is not an intact checkpoint: {fault}")
    return checkpoint


def remove_later_checkpoints(folder: Path, step: int) -> None:
    """Removes the checkpoints after `step`, since a run that resumes automatically takes the newest one."""
    for name in (name for name in list_checkpoints(folder) if name > format_checkpoint_name(step)):
        LOG.warning(f"{folder / name} is removed: the run resumes from step {step:,}")
        shutil.rmtree(folder / name, ignore_errors=True)


def load_checkpoint(checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.AdamW, ranks: Ranks) -> None:
    """Loads the checkpoint's weights and moments. Raises `ShardloomError` when they do not fit the model."""
    wanted = collect_tensors(model, optimizer)
    _load_tensors(checkpoint, wanted, ranks.checkpoint_group)
    for name, state in collect_optimizer_state(model, optimizer).items():
        state["step"].copy_(wanted[f"step.{name}"][0])


def load_weights(checkpoint: Checkpoint, weights: Mapping[str, Tensor], group: dist.ProcessGroup | None = None) -> None:
    """Loads the checkpoint's weights of these names in place, without their moments; shards need their ranks' `group`.

    Raises `ShardloomError` when they do not fit.
    """
    _load_tensors(checkpoint, {f"model.{name}": tensor.detach() for name, tensor in weights.items()}, group)


def _load_tensors(checkpoint: Checkpoint, wanted: dict[str, Tensor], group: dist.ProcessGroup | None) -> None:
    """Loads the tensors of these names in place; without a group, this process alone does."""
    try:
        with _ignore_user_warnings():
            load_distributed(
                wanted,
                storage_reader=HuggingFaceStorageReader(str(checkpoint.folder)),
                process_group=group,
                no_dist=group is None,
            )
    except (Exception, CheckpointException) as error:  # noqa: BLE001  a missing key, another shape
        raise ShardloomError(f"{checkpoint.folder} does not fit this model: {_describe_cause(error)}") from None


def list_checkpoints(folder: Path) -> list[str]:
    """Lists the names of the checkpoints in a folder, the newest first."""
    return sorted((path.name for path in folder.glob("step-*")), reverse=True)


def _write_checkpoint(folder: Path, staged: dict[str, Tensor], state: RunState, ranks: Ranks) -> None:
    """Writes one checkpoint, with collectives of the saving group only. Raises on all ranks when one can't write."""
    temporary = folder / _format_temporary_name(state.step)
    writer = HuggingFaceStorageWriter(str(temporary), _assign_files(staged, ranks), save_distributed=True)
    with _ignore_user_warnings():
        save_distributed(
            staged, storage_writer=writer, process_group=ranks.checkpoint_group, no_dist=ranks.checkpoint_group is None
        )

    def hash_own_files() -> dict[str, Any]:
        own = sorted(temporary.glob(f"shard-{ranks.rank + 1:05d}-*"))
        return {path.name: Folder(str(temporary)).hash_file(path.name) for path in own}

    files = _run_on_all_ranks(hash_own_files, ranks)

    def write_commit() -> dict[str, Any]:
        if ranks.is_first:
            commit = {"version": FORMAT_VERSION, **asdict(state), "files": files}
            Folder(str(temporary)).write(COMMIT_FILE, json.dumps(commit, indent=1).encode())
            target = folder / format_checkpoint_name(state.step)
            shutil.rmtree(target, ignore_errors=True)  # a damaged one of the same name
            temporary.replace(target)
            _fsync_folder(folder)
        return {}

    _run_on_all_ranks(write_commit, ranks)


def _run_on_all_ranks(make: Callable[[], dict[str, Any]], ranks: Ranks) -> dict[str, Any]:
    """Merges what `make` returns on all ranks.

    Raises `ShardloomError` on all ranks when it fails on one, so that none waits for that rank.
    """
    try:
        own = make()
    except (OSError, ShardloomError) as error:
        own = {_FAULT_KEY: f"rank {ranks.rank}: {_describe_cause(error)}"}
    found = dict(own)
    for text in _all_gather_bytes(json.dumps(own).encode(), ranks):
        found |= json.loads(text)
    if _FAULT_KEY in found:
        raise ShardloomError(found[_FAULT_KEY])
    return found


def _all_gather_bytes(text: bytes, ranks: Ranks) -> list[bytes]:
    """Gathers the texts of all ranks as tensors, because torch sends objects by pickle."""
    if ranks.checkpoint_group is None:
        return [text]
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(ranks.world_size)]
    torch.distributed.all_gather(sizes, torch.tensor([len(text)]), group=ranks.checkpoint_group)
    longest = max(int(size) for size in sizes)
    padded = torch.frombuffer(bytearray(text.ljust(longest)), dtype=torch.uint8)
    texts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(ranks.world_size)]
    torch.distributed.all_gather(texts, padded, group=ranks.checkpoint_group)
    return [bytes(found.numpy()) for found in texts]


def _assign_files(staged: dict[str, Tensor], ranks: Ranks) -> dict[str, int]:
    """Assigns each tensor to one of a rank's files, which are numbered from 1."""
    numbers, held, number = {}, 0, 1
    for name, tensor in staged.items():
        size = tensor.numel() * tensor.element_size() // ranks.world_size
        if held and held + size > MAX_FILE_BYTES:
            number, held = number + 1, 0
        numbers[name] = number
        held += size
    return numbers


def _try_open(path: Path, ranks: Ranks, check_hashes: bool = True) -> tuple[Checkpoint | None, str]:
    """Returns the checkpoint, or None and the fault in it. The ranks divide its files among them."""
    fault = ""
    try:
        commit = json.loads((path / COMMIT_FILE).read_bytes())
        if commit.pop("version") != FORMAT_VERSION:
            fault = f"{COMMIT_FILE} is of another version"
        files = {name: (size, digest) for name, (size, digest) in commit.pop("files").items()}
        checkpoint = Checkpoint(path, RunState(**commit), files)
        fault = fault or _find_fault(path, dict(sorted(files.items())[ranks.rank :: ranks.world_size]), check_hashes)
    except FileNotFoundError:
        fault = f"it has no {COMMIT_FILE}"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        fault = f"{COMMIT_FILE} cannot be read: {_describe_cause(error)}"
    if not sum(ranks.all_reduce([float(bool(fault))], f"reading {path.name}")):
        return checkpoint, ""
    return None, fault or "another rank found a fault in it"


def _find_fault(path: Path, files: dict[str, tuple[int, str]], check_hashes: bool) -> str:
    for name, (size, digest) in files.items():
        if not (path / name).is_file():
            return f"{name} is missing"
        if (there := (path / name).stat().st_size) != size:
            return f"{name} has {there:,} bytes of {size:,}"
        if check_hashes and Folder(str(path)).hash_file(name)[1] != digest:
            return f"{name} has changed since it was written"
    return ""


def _format_temporary_name(step: int) -> str:
    return f"{TEMPORARY}{format_checkpoint_name(step)}"


def _fsync_folder(folder: Path) -> None:
    """Flushes a folder to disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _describe_cause(error: BaseException) -> str:
    """Returns as one line the first cause inside the errors that torch has wrapped around it."""
    failures = getattr(error, "failures", None)  # of torch's CheckpointException: by rank
    if failures:
        rank, (first, _) = next(iter(sorted(failures.items())))
        return f"rank {rank}: {_describe_cause(first)}"
    if isinstance(error, ShardloomError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
    return to_one_line(error, with_type=True)


@contextlib.contextmanager
def _ignore_user_warnings() -> Iterator[None]:
    with warnings.catch_warnings():  # torch warns when one process writes alone
        warnings.simplefilter("ignore", UserWarning)
        yield
