"""Finds, fetches, hashes and loads folders of weights as `save_pretrained` writes them. Every error is one line.

torch and transformers, which take seconds to import, are imported only where something is fetched or loaded.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.engines.gpu import get_gpu_share
from curation.engines.hub import HubError, fetch_files
from curation.engines.safetensors_file import find_fault
from schemas.errors import UsageError, to_one_line

_INDEX_FILE = "model.safetensors.index.json"  # of weights in several files: which tensor is in which
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True, slots=True)
class WeightsFormat:
    """Describes the weights that one engine accepts. All errors are `UsageError`s that begin with the engine's name."""

    engine: str
    required_files: str  # the files that a folder must have, as errors list them
    download_patterns: tuple[str, ...]  # patterns of the files to fetch, without weights in other formats
    key: str = "weights"  # the option by which the user names the folder
    switch: str = "allow_download=true"  # the option that allows a download
    source: str = ""  # how to get a folder, for errors; empty where Shardloom knows none

    def find_local_folder(self, weights: str, allow_download: bool) -> Path | None:
        """Returns the folder at this path, or None for a name on the hub that may be fetched. Raises for all else."""
        if Path(weights).is_dir():
            return Path(weights)
        if not _HUB_NAME.fullmatch(weights):
            raise self.unfit_error(f"no folder {weights}; {self.advice}")
        if not allow_download:
            raise self.unfit_error(
                f"no folder {weights}; pass {self.key}=FOLDER, or {self.switch} to fetch it from the hub"
            )
        return None

    @property
    def advice(self) -> str:
        """Returns what to pass in place of a folder that lacks something, and how to get it."""
        return f"pass {self.key}=FOLDER with {self.required_files}" + (f"; {self.source}" if self.source else "")

    def fetch(self, name: str) -> Path:
        """Returns the folder that holds the hub's files of this name, and fetches them if they are not there yet."""
        try:
            return fetch_files(name, self.download_patterns)
        except HubError as error:
            raise self.unfit_error(f"cannot fetch {name} from the hub: {error}; pass {self.key}=FOLDER") from None

    def read_model_type(self, folder: Path) -> str:
        """Returns the model type that the folder's config.json gives."""
        return str(self.read_json(folder, "config.json", needs="model_type")["model_type"])

    def read_json(self, folder: Path, name: str, needs: str | None = None) -> dict[str, Any]:
        """Returns the object in one of the folder's JSON files, in which the key `needs` must be."""
        try:
            found = json.loads((folder / name).read_text("utf-8"))
            if needs is not None:
                found[needs]
            return dict(found)
        except FileNotFoundError:
            raise self.unfit_error(f"{folder} holds no {name}; {self.advice}") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:  # a folder, nested brackets
            raise self.unfit_error(
                f"cannot read {folder / name}: {to_one_line(error, with_type=True)}; pass another folder"
            ) from None

    def check_weight_files(self, folder: Path) -> None:
        """Raises for weights that are damaged or not all there. Reads their headers alone, and needs no torch."""
        paths = list_weight_files(folder)
        if not paths:
            raise self.unfit_error(f"{folder} holds no *.safetensors; {self.advice}")
        for path in paths:
            try:
                fault = find_fault(path)
            except OSError as error:
                fault = f"cannot be read ({error.strerror})"
            if fault is not None:
                raise self.unfit_error(
                    f"cannot load {folder}: {path.name} {fault}; fetch it again, or pass another folder"
                )
        if (folder / _INDEX_FILE).is_file():
            index = self.read_json(folder, _INDEX_FILE, needs="weight_map")["weight_map"]
            named = set(map(str, index.values())) if isinstance(index, dict) else set()
            if absent := sorted(named - {path.name for path in paths}):
                raise self.unfit_error(f"{folder} lacks {absent[0]}, which {_INDEX_FILE} names; pass another folder")

    def load_tokenizer(self, folder: Path) -> Any:
        """Returns the `tokenizers.Tokenizer` in the folder's tokenizer.json."""
        from tokenizers import Tokenizer  # here, because not every engine's environment has it

        try:
            return Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # noqa: BLE001  the library raises no other class for a damaged file
            raise self.unfit_error(
                f"cannot read {folder / 'tokenizer.json'}: {to_one_line(error)}; pass another folder"
            ) from None

    def load(self, folder: Path, kind: Any, **options: Any) -> Any:
        """Returns the object that transformers loads from the folder; `kind` is one of its classes."""
        self._refuse_kernels(folder)
        silence_transformers()
        try:
            return kind.from_pretrained(folder, local_files_only=True, **options)
        except Exception as error:  # noqa: BLE001  transformers raises any exception on damaged files
            raise self.unfit_error(
                f"cannot load {folder}: {to_one_line(error, with_type=True)}; pass another folder"
            ) from None

    def load_model(self, folder: Path, architecture: Any, dtype: Any = None) -> Any:
        """Returns the model with all its tensors, on the CPU and in `dtype`, by default float32."""
        import torch

        model, loaded = self.load(
            folder,
            architecture,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=dtype or torch.float32,  # not the file's dtype: detectors in half precision return boxes of NaN
            output_loading_info=True,
        )
        absent = sorted(loaded["missing_keys"])
        if absent:  # transformers would initialise them at random
            raise self.unfit_error(
                f"{folder} lacks {len(absent)} of the model's tensors, such as {absent[0]}; pass another folder"
            )
        return model

    def resolve_device(self, device: str, precision: str) -> tuple[str, str]:
        """Returns the device (cpu, cuda) and precision (fp32, bf16) for this machine, with `auto` replaced.

        Limits torch to this process's share of the GPU's memory.
        """
        import torch

        cuda = torch.cuda.is_available()
        if device == "cuda" and not cuda:
            raise self.unfit_error("no CUDA device here; pass device=cpu or device=auto")
        if device == "auto":
            device = "cuda" if cuda else "cpu"
        if device == "cuda" and (share := get_gpu_share()) < 1:
            torch.cuda.set_per_process_memory_fraction(share)
        if precision == "auto":
            has_bf16 = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
            precision = "bf16" if has_bf16 else "fp32"
        return device, precision

    def _refuse_kernels(self, folder: Path) -> None:
        """Raises for a config.json that names a hub repository for attention or experts.

        transformers would fetch such a kernel from the hub and run it, even with `trust_remote_code=False`.
        """
        try:
            config = json.loads((folder / "config.json").read_text("utf-8"))
        except (OSError, ValueError, RecursionError):  # reported elsewhere
            return
        waiting = [config]
        while waiting:
            group = waiting.pop()
            for name, value in group.items() if isinstance(group, dict) else ():
                if name.endswith(("attn_implementation", "experts_implementation")) and "/" in str(value):
                    raise self.unfit_error(
                        f"{folder / 'config.json'} asks for code from the hub ({name}: {value}); remove that entry"
                    )
                waiting.append(value)

    def unfit_error(self, message: str) -> UsageError:
        """Returns the error for weights that are missing or unusable here."""
        return UsageError(f"{self.engine}: {message}")


def list_weight_files(folder: Path) -> list[Path]:
    """Returns the weight files of a folder, in the order of their names, without hidden files."""
    return sorted(folder.glob("[!.]*.safetensors"))


def hash_weights(folder: Path) -> str:
    """Returns the SHA-256 of the bytes of all weight files, in the order of their names."""
    return _hash_paths(list_weight_files(folder))


def hash_files(folder: Path, names: Iterable[str]) -> str:
    """Returns the SHA-256 of the bytes of those named files that exist, in the given order."""
    return _hash_paths(folder / name for name in names if (folder / name).is_file())


def _hash_paths(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def silence_transformers() -> None:
    """Switches off transformers' log lines and progress bars in this process: errors are raised instead."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # also the hub's
