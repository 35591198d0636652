"""A folder of Grounding-DINO weights: found, checked, hashed, loaded. Whatever is wrong with it is one line.

torch and transformers, which take seconds to import, come in only where weights are loaded.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.engines.prompts import SEPARATORS
from schemas.errors import UsageError

SHIPPED = Path(__file__).parents[1] / "demo_detector" / "weights"
"""The demonstration weights: a small detector of a few drawn things."""

_MODELS = {
    "grounding-dino": "GroundingDinoForObjectDetection",
    "mm-grounding-dino": "MMGroundingDinoForObjectDetection",
}
_TOKENIZER = ("tokenizer.json", "vocab.txt")
_IMAGES = ("preprocessor_config.json", "processor_config.json")
_CONFIGURATION = ("config.json", *_IMAGES, *_TOKENIZER, "tokenizer_config.json", "special_tokens_map.json")
_NEEDED = f"config.json, *.safetensors, {' or '.join(_TOKENIZER)}, {' or '.join(_IMAGES)}"
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class Detector:
    """What a folder holds. transformers' classes, which are not typed."""

    model: Any
    tokenizer: Any
    image_processor: Any


def weights_folder(weights: str | None, allow_download: bool) -> Path:
    """The folder that holds the weights, fetched from the hub if need be. Raises `UsageError`."""
    folder = SHIPPED if weights is None else Path(weights)
    if not folder.is_dir():
        if weights is None:
            raise unfit(f"no demonstration weights at {folder}; pass weights=FOLDER with {_NEEDED}")
        if not _HUB_NAME.fullmatch(weights):
            raise unfit(f"no folder {weights}; pass weights=FOLDER with {_NEEDED}")
        if not allow_download:
            raise unfit(f"no folder {weights}; pass weights=FOLDER, or allow_download=true to fetch it from the hub")
        folder = _downloaded(weights)
    _check_files(folder)
    return folder


def weights_sha256(folder: Path) -> str:
    """Of the bytes of all weight files, in the order of their names."""
    return _sha256(sorted(folder.glob("*.safetensors")))


def configuration_sha256(folder: Path) -> str:
    """Of the files that say how the weights are used: sizes of images, vocabulary."""
    return _sha256(folder / name for name in sorted(_CONFIGURATION) if (folder / name).is_file())


def load_detector(folder: Path) -> Detector:
    """Model (float32, on the CPU), tokenizer and image processor. Raises `UsageError` for a folder that is unfit."""
    import torch
    import transformers
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

    _silence()
    architecture = getattr(transformers, _MODELS[_model_type(folder)])
    try:
        model, loaded = architecture.from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            dtype=torch.float32,  # else that of the file: weights in half precision give boxes of NaN
            output_loading_info=True,
        )
        # Not the class without "Pil", which asks for torchvision; `vocab_file=` would give 5 tokens in silence.
        image_processor = GroundingDinoImageProcessorPil.from_pretrained(folder, local_files_only=True)
        tokenizer = transformers.BertTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # noqa: BLE001  transformers raises what it likes on damaged files
        raise unfit(f"cannot load {folder}: {_one_line(error)}; pass another folder") from None
    absent = sorted(loaded["missing_keys"])
    if absent:  # transformers makes them up
        raise unfit(f"{folder} lacks {len(absent)} of the model's tensors, {absent[0]} for one; pass another folder")
    size: Any = image_processor.size
    if image_processor.do_resize and not (size.shortest_edge or (size.height and size.width)):
        raise unfit(f"{folder}: its image processor resizes to neither a shortest_edge nor a height and width")
    _check_tokenizer(folder, tokenizer, model.config.text_config.vocab_size)
    return Detector(model, tokenizer, image_processor)


def _check_files(folder: Path) -> None:
    model_type = _model_type(folder)
    if model_type not in _MODELS:
        raise unfit(f"{folder} holds a model of type {model_type!r}; pass one of {' or '.join(_MODELS)}")
    for kind, names in (("tokenizer", _TOKENIZER), ("image processor", _IMAGES)):
        if not any((folder / name).is_file() for name in names):
            raise unfit(f"{folder} holds no {kind}; pass weights=FOLDER with {_NEEDED}")
    if not any(folder.glob("*.safetensors")):
        raise unfit(f"{folder} holds no *.safetensors; pass weights=FOLDER with {_NEEDED}")


def _model_type(folder: Path) -> str:
    try:
        return str(json.loads((folder / "config.json").read_text("utf-8"))["model_type"])
    except FileNotFoundError:
        raise unfit(f"{folder} holds no config.json; pass weights=FOLDER with {_NEEDED}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise unfit(f"{folder / 'config.json'} is no model's: {_one_line(error)}; pass another folder") from None


def _check_tokenizer(folder: Path, tokenizer: Any, vocabulary: int) -> None:
    separators = tuple(tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", ".", "?"]))
    if separators != SEPARATORS:  # the model would take the names for one long phrase
        raise unfit(
            f"{folder}: its tokenizer has [CLS] [SEP] . ? as {separators}, not {SEPARATORS}; pass another folder"
        )
    if len(tokenizer) > vocabulary:
        raise unfit(
            f"{folder}: {len(tokenizer)} tokens in its tokenizer, {vocabulary} in its model; pass another folder"
        )


def _downloaded(name: str) -> Path:
    import huggingface_hub

    _silence()
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.safetensors"]))
    except Exception as error:  # noqa: BLE001  no such name, no network, no space, ...
        raise unfit(f"cannot fetch {name} from the hub: {_one_line(error)}; pass weights=FOLDER") from None


def _silence() -> None:
    """No bars and lines of transformers' own in this process: what matters is raised."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # the hub's, too


def _sha256(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def unfit(message: str) -> UsageError:
    """The error for weights that are missing or of no use here."""
    return UsageError(f"grounding_dino: {message}")


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
