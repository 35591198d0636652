"""Folders of weights as `save_pretrained` writes them: found, fetched, hashed, loaded. What is wrong is one line.

torch and transformers, which take seconds to import, come in only where something is fetched or loaded.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import UsageError, one_line

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True, slots=True)
class WeightsFormat:
    """What one engine takes for weights. All its errors are `UsageError`s that begin with the engine's name."""

    engine: str
    needed: str  # the files of a folder, as errors list them
    fetched: tuple[str, ...]  # patterns of what is worth fetching: no weights in other formats
    key: str = "weights"  # by which the user names the folder
    switch: str = "allow_download=true"

    def local_folder(self, weights: str, allow_download: bool) -> Path | None:
        """The folder of this path; None for a name on the hub that may be fetched. Raises for all else."""
        if Path(weights).is_dir():
            return Path(weights)
        if not _HUB_NAME.fullmatch(weights):
            raise self.unfit(f"no folder {weights}; pass {self.key}=FOLDER with {self.needed}")
        if not allow_download:
            raise self.unfit(f"no folder {weights}; pass {self.key}=FOLDER, or {self.switch} to fetch it from the hub")
        return None

    def fetch(self, name: str) -> Path:
        """The folder into which the hub's files of this name were put, now or before."""
        import huggingface_hub

        _silence()
        try:
            return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(self.fetched)))
        except Exception as error:  # noqa: BLE001  no such name, no network, no space, ...
            raise self.unfit(
                f"cannot fetch {name} from the hub: {one_line(error, with_type=True)}; pass {self.key}=FOLDER"
            ) from None

    def model_type(self, folder: Path) -> str:
        """What its config.json calls the model."""
        try:
            return str(json.loads((folder / "config.json").read_text("utf-8"))["model_type"])
        except FileNotFoundError:
            raise self.unfit(f"{folder} holds no config.json; pass {self.key}=FOLDER with {self.needed}") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:  # a folder, brackets without end
            raise self.unfit(
                f"{folder / 'config.json'} is no model's: {one_line(error, with_type=True)}; pass another folder"
            ) from None

    def load(self, folder: Path, kind: Any, **options: Any) -> Any:
        """What transformers makes of the folder; `kind` is one of its classes."""
        self._refuse_kernels(folder)
        _silence()
        try:
            return kind.from_pretrained(folder, local_files_only=True, **options)
        except Exception as error:  # noqa: BLE001  transformers raises what it likes on damaged files
            raise self.unfit(f"cannot load {folder}: {one_line(error, with_type=True)}; pass another folder") from None

    def load_model(self, folder: Path, architecture: Any) -> Any:
        """The model with all its tensors, in float32 and on the CPU."""
        import torch

        model, loaded = self.load(
            folder,
            architecture,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,  # else that of the file: detectors in half precision give boxes of NaN
            output_loading_info=True,
        )
        absent = sorted(loaded["missing_keys"])
        if absent:  # transformers makes them up
            raise self.unfit(
                f"{folder} lacks {len(absent)} of the model's tensors, {absent[0]} for one; pass another folder"
            )
        return model

    def resolved(self, device: str, precision: str) -> tuple[str, str]:
        """The device (cpu, cuda) and the precision (fp32, bf16) that `auto` stands for on this machine."""
        import torch

        cuda = torch.cuda.is_available()
        if device == "cuda" and not cuda:
            raise self.unfit("no CUDA device here; pass device=cpu or device=auto")
        if device == "auto":
            device = "cuda" if cuda else "cpu"
        if precision == "auto":
            has_bf16 = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
            precision = "bf16" if has_bf16 else "fp32"
        return device, precision

    def _refuse_kernels(self, folder: Path) -> None:
        """Raises for a config.json that names a repository for attention or experts.

        transformers would fetch such a kernel from the hub and run it, whatever it is told of remote code.
        """
        try:
            config = json.loads((folder / "config.json").read_text("utf-8"))
        except (OSError, ValueError, RecursionError):  # for others to say
            return
        waiting = [config]
        while waiting:
            group = waiting.pop()
            for name, value in group.items() if isinstance(group, dict) else ():
                if name.endswith(("attn_implementation", "experts_implementation")) and "/" in str(value):
                    raise self.unfit(
                        f"{folder / 'config.json'} asks for code from the hub ({name}: {value}); take that out of it"
                    )
                waiting.append(value)

    def unfit(self, message: str) -> UsageError:
        """The error for weights that are missing or of no use here."""
        return UsageError(f"{self.engine}: {message}")


def weights_sha256(folder: Path) -> str:
    """Of the bytes of all weight files, in the order of their names."""
    return _sha256(sorted(folder.glob("[!.]*.safetensors")))


def files_sha256(folder: Path, names: Iterable[str]) -> str:
    """Of the bytes of those of the files that are there, in the order given."""
    return _sha256(folder / name for name in names if (folder / name).is_file())


def _sha256(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _silence() -> None:
    """No bars and lines of transformers' own in this process: what matters is raised."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # the hub's, too
