"""Connects the ranks of a run: rendezvous, collectives on the host, and the model sharded or replicated.

Gradients are summed over the ranks, never averaged: the loss is already divided by the number of labelled positions of
*all* ranks, so the sum of their gradients is exactly that of one process with the whole batch.
"""

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import GradBucket, HashStore  # type: ignore[attr-defined]
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.rendezvous import rendezvous

from schemas.errors import ShardloomError, UsageError, to_one_line
from training.model.weights import is_on_meta, move_to_device
from training.recipe import TrainRecipe, TrainRunOptions

if TYPE_CHECKING:
    from training.model.lmm import ResamplerLMM


CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Ranks:
    """Describes this process among the ranks. A single process has no groups, unless the recipe asks for fsdp."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = CPU
    control_group: dist.ProcessGroup | None = None  # gloo: for numbers that the host needs, without waiting for the GPU
    checkpoint_group: dist.ProcessGroup | None = None  # gloo: for the thread that writes checkpoints
    store: Store | None = None

    @property
    def is_first(self) -> bool:
        """Returns whether this is the rank that writes and prints."""
        return self.rank == 0

    def all_reduce(self, values: Sequence[float], operation: str) -> list[float]:
        """All-reduces each value to its sum over all ranks, in float64.

        `operation` says what this rank is doing. Raises `ShardloomError` that names the ranks that have not got as far.
        """
        if self.control_group is None or self.store is None:
            return list(values)
        self.store.set(f"doing/{self.rank}", operation)
        numbers = torch.tensor(values, dtype=torch.float64)
        try:
            dist.all_reduce(numbers, group=self.control_group)
        except RuntimeError as error:
            raise ShardloomError(
                f"rank {self.rank}: {operation}: {self._describe_absent_ranks(operation)} ({to_one_line(error)})"
            ) from None
        found: list[float] = numbers.tolist()
        return found

    def raise_if_any_failed(self, fault: str | None, operation: str) -> None:
        """Raises `ShardloomError` on all ranks if any failed, with this rank's `fault` or that rank's number."""
        at = [float(rank == self.rank and fault is not None) for rank in range(self.world_size)]
        faulty = [rank for rank, count in enumerate(self.all_reduce(at, operation)) if count]
        if fault is not None:
            raise ShardloomError(fault)
        if faulty:
            raise ShardloomError(f"rank {self.rank}: stopped because rank {faulty[0]} failed: {operation}")

    def broadcast(self, key: str, text: str) -> str:
        """Broadcasts the first rank's text under a key, which may be used only once."""
        if self.store is None or self.world_size == 1:
            return text
        if self.is_first:
            self.store.set(f"told/{key}", text)
        try:
            return str(self.store.get(f"told/{key}").decode())
        except RuntimeError as error:
            raise ShardloomError(f"rank {self.rank}: {key}: rank 0 does not answer ({to_one_line(error)})") from None

    def gather(self, value: Any, operation: str) -> list[Any]:
        """Gathers a value of each rank, in their order, on the first; others get none.

        Raises `ShardloomError` that names the ranks that have not got as far.
        """
        if self.control_group is None or self.world_size == 1:
            return [value]
        self.all_reduce([0.0], operation)  # waits, and says for whom
        found = [None] * self.world_size if self.is_first else None
        dist.gather_object(value, found, dst=0, group=self.control_group)
        return found or []

    def _describe_absent_ranks(self, operation: str) -> str:
        """Names the ranks that are doing something else, and what each last reported."""
        assert self.store is not None
        try:
            found = [(rank, self.store.get(f"doing/{rank}").decode()) for rank in range(self.world_size)]
        except RuntimeError:
            return "rank 0, or its launcher, has ended"
        behind = [f"rank {rank} last reported: {last}" for rank, last in found if last != operation]
        return "; ".join(behind[:4]) or "a rank has ended, or cannot be reached"


@contextlib.contextmanager
def init_distributed(run: TrainRunOptions, parallel: str) -> Iterator[Ranks]:
    """Initialises torch.distributed for the ranks that torchrun started, and ends it with the block.

    A single process needs no groups and gets none, unless `parallel` is fsdp. Raises `UsageError` when there is no such
    device or a group exists already, and `ShardloomError` when the ranks can't connect.
    """
    rank, count, local = (int(os.environ.get(name, of)) for name, of in _TORCHRUN_DEFAULTS.items())
    device = _select_device(run.device, local)
    if count == 1 and parallel != "fsdp":
        yield Ranks(device=device)
        return
    if dist.is_initialized():
        raise UsageError(
            "this process already has a torch.distributed group, but training must create it: start another process"
        )
    timeout = timedelta(seconds=run.timeout_seconds)
    if count == 1:
        store: Store = HashStore()
    else:
        store = _rendezvous(rank, count, timeout)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=timeout)
    try:
        control, saving = (dist.new_group(backend="gloo", timeout=timeout) for _ in range(2))
        ours = PrefixStore("shardloom", store)
        ours.set_timeout(timeout)
        ours.set(f"doing/{rank}", "starting")
        yield Ranks(rank, count, device, control, saving, ours)
    finally:
        dist.destroy_process_group()


def resolve_parallelism(parallel: str, world_size: int) -> str:
    """Returns how `world_size` processes share the model: none, ddp or fsdp. Raises `UsageError` when they can't."""
    if parallel == "none" and world_size > 1:
        raise UsageError(f"parallel: none, but there are {world_size} ranks; use ddp or fsdp")
    if parallel == "auto":
        return "fsdp" if world_size > 1 else "none"
    return "none" if parallel == "ddp" and world_size == 1 else parallel


def parallelize(model: "ResamplerLMM", recipe: TrainRecipe, ranks: Ranks) -> nn.Module:
    """Moves the model to this rank's device, sharded or replicated; returns the module to call under
    `sync_gradients`.

    A model on `meta` must be filled afterwards, and its tower's precision lowered.
    """
    kind = resolve_parallelism(recipe.parallel, ranks.world_size)
    if not is_on_meta(model):
        lower_tower_precision(model, recipe)
    layered = [model.language.layers, model.connector.layers]
    if recipe.activation_checkpointing:
        _apply_activation_checkpointing(layered)
    if recipe.compile:
        for layer in (layer for layers in layered for layer in layers):
            layer.compile()
    if kind == "fsdp":
        return _apply_fsdp(model, recipe.precision, ranks)
    model.to(ranks.device)
    if kind == "ddp":
        return _apply_ddp(model, ranks)
    return model


def lower_tower_precision(model: "ResamplerLMM", recipe: TrainRecipe) -> None:
    """Rounds a frozen tower to bf16 in a run of that precision; trained weights are cast in use."""
    if recipe.precision == "bf16" and model.vision.frozen:
        for parameter in model.vision.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)


def autocast(recipe: TrainRecipe, ranks: Ranks) -> contextlib.AbstractContextManager[Any]:
    """Returns the autocast to bf16 for fp32 weights; FSDP needs none, because it casts weights as it gathers them."""
    if recipe.precision == "fp32" or resolve_parallelism(recipe.parallel, ranks.world_size) == "fsdp":
        return contextlib.nullcontext()
    return torch.autocast(ranks.device.type, torch.bfloat16)


@contextlib.contextmanager
def sync_gradients(model: nn.Module, is_last: bool, reduce: Literal["step", "micro_batch"] = "step") -> Iterator[None]:
    """Sums gradients over the ranks in the last micro-batch of a step; before that they add up on each rank.

    With `reduce` of micro_batch, a sharded model sums them in each, and its shards of the sums add up. A replicated
    model ignores that, since its gradients are whole in any case.
    """
    if isinstance(model, nn.parallel.DistributedDataParallel) and not is_last:
        with model.no_sync():
            yield
        return
    if isinstance(model, FSDPModule):
        reduces = is_last or reduce == "micro_batch"
        model.set_requires_gradient_sync(reduces)
        model.set_is_last_backward(reduces)  # waits until the sums are complete and their buffers free
    yield


_TORCHRUN_DEFAULTS = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}


def _select_device(requested: str, local: int) -> torch.device:
    if requested == "cpu" or (requested == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UsageError(
            "run.device is cuda, but torch finds no CUDA device here; use cpu, or a build of torch with CUDA"
        )
    if local >= torch.cuda.device_count():
        raise UsageError(f"local rank {local} has no GPU: there are {torch.cuda.device_count()} on this machine")
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def _rendezvous(rank: int, world_size: int, timeout: timedelta) -> Store:
    """Opens the store through which the ranks find one another, by torch's rendezvous."""
    address = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
    try:
        store, _, _ = next(rendezvous("env://", rank, world_size, timeout=timeout))
    except (RuntimeError, ValueError) as error:
        what = f"cannot reach the other ranks at {address} (MASTER_ADDR:MASTER_PORT)"
        raise ShardloomError(f"rank {rank} of {world_size}: {what}: {to_one_line(error)}") from None
    assert isinstance(store, Store)
    return store


def _apply_activation_checkpointing(layered: list[nn.ModuleList]) -> None:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    for layers in layered:
        for at, layer in enumerate(layers):
            layers[at] = checkpoint_wrapper(layer)


def _apply_fsdp(model: "ResamplerLMM", precision: str, ranks: Ranks) -> nn.Module:
    """Shards by FSDP2: one group for each decoder layer, one for the connector, and one for all else.

    A frozen tower stays whole on every rank: 0.86 GB per GPU in bf16, instead of gathering as much at every step.
    """
    mesh = init_device_mesh(ranks.device.type, (ranks.world_size,))
    policy = MixedPrecisionPolicy()
    if precision == "bf16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    tower: set[nn.Parameter] = set()
    if model.vision.frozen:
        move_to_device(model.vision, ranks.device)
        tower = set(model.vision.parameters())
    for layer in model.language.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model.connector, mesh=mesh, mp_policy=policy)
    # The warning is about changing such a view in place; nothing changes the connector's output in place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    fully_shard(model, mesh=mesh, mp_policy=policy, ignored_params=tower)
    for module in model.modules():
        if isinstance(module, FSDPModule):  # by default it divides the sum by the number of ranks
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    move_to_device(model, ranks.device)  # buffers, and the shards of a model on `meta`
    return model


def _apply_ddp(model: nn.Module, ranks: Ranks) -> nn.Module:
    devices = [ranks.device] if ranks.device.type == "cuda" else None
    whole = nn.parallel.DistributedDataParallel(
        model, device_ids=devices, forward_sync_buffers=False, gradient_as_bucket_view=True
    )
    whole.register_comm_hook(None, _all_reduce_bucket)
    return whole


def _all_reduce_bucket(_state: None, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    assert work is not None
    return work.get_future().then(lambda done: done.value()[0])  # type: ignore[no-any-return]
