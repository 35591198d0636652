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

from schemas.errors import UsageError, to_one_line

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True, slots=True)
class WeightsFormat:
    """Describes the weights that one engine accepts. All errors are `UsageError`s that begin with the engine's name."""

    engine: str
    required_files: str  # the files that a folder must have, as errors list them
    download_patterns: tuple[str, ...]  # patterns of the files to fetch, without weights in other formats
    key: str = "weights"  # the option by which the user names the folder
    switch: str = "allow_download=true"  # the option that allows a download

    def find_local_folder(self, weights: str, allow_download: bool) -> Path | None:
        """Returns the folder at this path, or None for a name on the hub that may be fetched. Raises for all else."""
        if Path(weights).is_dir():
            return Path(weights)
        if not _HUB_NAME.fullmatch(weights):
            raise self.unfit_error(f"no folder {weights}; pass {self.key}=FOLDER with {self.required_files}")
        if not allow_download:
            raise self.unfit_error(
                f"no folder {weights}; pass {self.key}=FOLDER, or {self.switch} to fetch it from the hub"
            )
        return None

    def fetch(self, name: str) -> Path:
        """Returns the folder that holds the hub's files of this name, and fetches them if they are not there yet."""
        import huggingface_hub

        _silence_transformers()
        try:
            return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(self.download_patterns)))
        except Exception as error:  # noqa: BLE001  unknown name, no network, no space, ...
            raise self.unfit_error(
                f"cannot fetch {name} from the hub: {to_one_line(error, with_type=True)}; pass {self.key}=FOLDER"
            ) from None

    def read_model_type(self, folder: Path) -> str:
        """Returns the model type that the folder's config.json gives."""
        try:
            return str(json.loads((folder / "config.json").read_text("utf-8"))["model_type"])
        except FileNotFoundError:
            raise self.unfit_error(
                f"{folder} holds no config.json; pass {self.key}=FOLDER with {self.required_files}"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:  # a folder, nested brackets
            raise self.unfit_error(
                f"cannot read {folder / 'config.json'}: {to_one_line(error, with_type=True)}; pass another folder"
            ) from None

    def load(self, folder: Path, kind: Any, **options: Any) -> Any:
        """Returns the object that transformers loads from the folder; `kind` is one of its classes."""
        self._refuse_kernels(folder)
        _silence_transformers()
        try:
            return kind.from_pretrained(folder, local_files_only=True, **options)
        except Exception as error:  # noqa: BLE001  transformers raises any exception on damaged files
            raise self.unfit_error(
                f"cannot load {folder}: {to_one_line(error, with_type=True)}; pass another folder"
            ) from None

    def load_model(self, folder: Path, architecture: Any) -> Any:
        """Returns the model with all its tensors, in float32 and on the CPU."""
        import torch

        model, loaded = self.load(
            folder,
            architecture,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,  # not the file's dtype: detectors in half precision return boxes of NaN
            output_loading_info=True,
        )
        absent = sorted(loaded["missing_keys"])
        if absent:  # transformers would initialise them at random
            raise self.unfit_error(
                f"{folder} lacks {len(absent)} of the model's tensors, such as {absent[0]}; pass another folder"
            )
        return model

    def resolve_device(self, device: str, precision: str) -> tuple[str, str]:
        """Returns the device (cpu, cuda) and precision (fp32, bf16) for this machine, with `auto` replaced."""
        import torch

        cuda = torch.cuda.is_available()
        if device == "cuda" and not cuda:
            raise self.unfit_error("no CUDA device here; pass device=cpu or device=auto")
        if device == "auto":
            device = "cuda" if cuda else "cpu"
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


def hash_weights(folder: Path) -> str:
    """Returns the SHA-256 of the bytes of all weight files, in the order of their names."""
    return _hash_paths(sorted(folder.glob("[!.]*.safetensors")))


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


def _silence_transformers() -> None:
    """Switches off transformers' log lines and progress bars in this process: errors are raised instead."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # also the hub's
