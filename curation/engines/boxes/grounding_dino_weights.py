"""Finds, checks and loads a folder of Grounding-DINO weights. Checking needs no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.engines.boxes.prompts import SEPARATORS
from curation.engines.weights import WeightsFormat, hash_files

SHIPPED = Path(__file__).parents[2] / "demo_detector" / "weights"
"""The folder of the demonstration weights: a small detector of a few drawn things."""

_MODELS = {
    "grounding-dino": "GroundingDinoForObjectDetection",
    "mm-grounding-dino": "MMGroundingDinoForObjectDetection",
}
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")  # one of them is enough
_IMAGE_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")  # likewise
_CONFIG_FILES = (
    "config.json",
    *_IMAGE_PROCESSOR_FILES,
    *_TOKENIZER_FILES,
    "tokenizer_config.json",
    "special_tokens_map.json",
)

GROUNDING_DINO = WeightsFormat(
    engine="grounding_dino",
    required_files="config.json, *.safetensors, "
    f"{' or '.join(_TOKENIZER_FILES)}, {' or '.join(_IMAGE_PROCESSOR_FILES)}",
    download_patterns=("*.json", "*.txt", "*.safetensors"),
)


@dataclass(frozen=True)
class Detector:
    """Holds what is loaded from a folder, as objects of transformers' classes, which are not typed."""

    model: Any
    tokenizer: Any
    image_processor: Any


def resolve_weights_folder(weights: str | None, allow_download: bool) -> Path:
    """Returns the folder of the weights, and fetches it from the hub if needed. Raises `UsageError`."""
    if weights is not None:
        folder = GROUNDING_DINO.find_local_folder(weights, allow_download) or GROUNDING_DINO.fetch(weights)
    elif SHIPPED.is_dir():
        folder = SHIPPED
    else:
        raise GROUNDING_DINO.unfit_error(
            f"no demonstration weights at {SHIPPED}; pass weights=FOLDER with {GROUNDING_DINO.required_files}"
        )
    _check_files(folder)
    return folder


def hash_configuration(folder: Path) -> str:
    """Returns the SHA-256 of the files that say how the weights are used: image sizes, vocabulary."""
    return hash_files(folder, sorted(_CONFIG_FILES))


def load_detector(folder: Path) -> Detector:
    """Loads model (float32, on the CPU), tokenizer and image processor. Raises `UsageError` for an unfit folder."""
    import transformers
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

    architecture = getattr(transformers, _MODELS[GROUNDING_DINO.read_model_type(folder)])
    model = GROUNDING_DINO.load_model(folder, architecture)
    # The class without "Pil" needs torchvision; with `vocab_file=` the tokenizer would silently have 5 tokens.
    image_processor = GROUNDING_DINO.load(folder, GroundingDinoImageProcessorPil)
    tokenizer = GROUNDING_DINO.load(folder, transformers.BertTokenizer)
    size = image_processor.size
    if image_processor.do_resize and not (size.shortest_edge or (size.height and size.width)):
        raise GROUNDING_DINO.unfit_error(
            f"{folder}: its image processor resizes to neither a shortest_edge nor a height and width"
        )
    check_tokenizer(folder, tokenizer, model.config.text_config.vocab_size)
    return Detector(model, tokenizer, image_processor)


def _check_files(folder: Path) -> None:
    model_type = GROUNDING_DINO.read_model_type(folder)
    if model_type not in _MODELS:
        raise GROUNDING_DINO.unfit_error(
            f"{folder} holds a model of type {model_type!r}; pass one of {' or '.join(_MODELS)}"
        )
    for kind, names in (("tokenizer", _TOKENIZER_FILES), ("image processor", _IMAGE_PROCESSOR_FILES)):
        if not any((folder / name).is_file() for name in names):
            raise GROUNDING_DINO.unfit_error(
                f"{folder} holds no {kind}; pass weights=FOLDER with {GROUNDING_DINO.required_files}"
            )
    if not any(folder.glob("[!.]*.safetensors")):
        raise GROUNDING_DINO.unfit_error(
            f"{folder} holds no *.safetensors; pass weights=FOLDER with {GROUNDING_DINO.required_files}"
        )


def check_tokenizer(folder: Path, tokenizer: Any, vocabulary: int) -> None:
    """Raises `UsageError` if the tokenizer has more tokens than the model, or separates names with other tokens."""
    separators = tuple(tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", ".", "?"]))
    if separators != SEPARATORS:  # the model would treat the names as one long phrase
        raise GROUNDING_DINO.unfit_error(
            f"{folder}: its tokenizer has [CLS] [SEP] . ? as {separators}, not {SEPARATORS}; pass another folder"
        )
    if len(tokenizer) > vocabulary:
        raise GROUNDING_DINO.unfit_error(
            f"{folder}: {len(tokenizer)} tokens in its tokenizer, {vocabulary} in its model; pass another folder"
        )
