"""Finds, checks and loads a folder of Grounding-DINO weights. Checking needs no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.engines.boxes.grounding_dino_settings import GroundingDinoSettings
from curation.engines.boxes.prompts import SEPARATORS
from curation.engines.weights import WeightsFormat, hash_files
from schemas.errors import UsageError

SHIPPED = Path(__file__).parents[2] / "demo_detector" / "weights"
"""The folder of the demonstration weights: a small detector of a few drawn things."""

_MODELS = {
    "grounding-dino": "GroundingDinoForObjectDetection",
    "mm-grounding-dino": "MMGroundingDinoForObjectDetection",
}
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")  # one of them is enough
_IMAGE_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")  # likewise
_SEPARATOR_TOKENS = ("[CLS]", "[SEP]", ".", "?")  # in the order of `SEPARATORS`
_BERT_TOKENS = 30522  # of BERT's uncased vocabulary, where a config.json does not say
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
    source="`shardloom engines --fetch grounding-dino` gets one",
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
        raise GROUNDING_DINO.unfit_error(f"no demonstration weights at {SHIPPED}; {GROUNDING_DINO.advice}")
    check_folder(folder)
    return folder


def fetch_weights(settings: GroundingDinoSettings) -> None:
    """Fetches weights that the settings name on the hub. Raises `UsageError` for a name or files that are unfit."""
    resolve_weights_folder(settings.weights, settings.allow_download)


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
        raise _make_size_error(folder)
    check_tokenizer(folder, tokenizer, model.config.text_config.vocab_size)
    return Detector(model, tokenizer, image_processor)


def check_folder(folder: Path) -> None:
    """Raises `UsageError` if the folder lacks a file, or has one that is damaged or does not fit. Needs no torch."""
    model_type = GROUNDING_DINO.read_model_type(folder)
    if model_type not in _MODELS:
        raise GROUNDING_DINO.unfit_error(
            f"{folder} holds a model of type {model_type!r}; pass one of {' or '.join(_MODELS)}"
        )
    for kind, names in (("tokenizer", _TOKENIZER_FILES), ("image processor", _IMAGE_PROCESSOR_FILES)):
        if not any((folder / name).is_file() for name in names):
            raise GROUNDING_DINO.unfit_error(f"{folder} holds no {kind}; {GROUNDING_DINO.advice}")
    GROUNDING_DINO.check_weight_files(folder)
    _check_tokenizer_file(folder)
    _check_image_sizes(folder)


def _check_tokenizer_file(folder: Path) -> None:
    """Checks the tokenizer's file as `check_tokenizer` checks the tokenizer that is loaded from it."""
    if (folder / "tokenizer.json").is_file():
        loaded = GROUNDING_DINO.load_tokenizer(folder)
        ids, tokens = loaded.token_to_id, loaded.get_vocab_size()
    else:
        lines = (folder / "vocab.txt").read_text("utf-8", "replace").splitlines()
        ids, tokens = {line: number for number, line in enumerate(lines)}.get, len(lines)
    text = GROUNDING_DINO.read_json(folder, "config.json").get("text_config")
    vocabulary = text.get("vocab_size") if isinstance(text, dict) else None
    _check_tokens(folder, tuple(ids(token) for token in _SEPARATOR_TOKENS), tokens, vocabulary or _BERT_TOKENS)


def _check_image_sizes(folder: Path) -> None:
    name = next(name for name in _IMAGE_PROCESSOR_FILES if (folder / name).is_file())
    found = GROUNDING_DINO.read_json(folder, name)
    config = found.get("image_processor", found)
    size = config.get("size") if isinstance(config, dict) and config.get("do_resize", True) else None
    if isinstance(size, dict) and not (size.get("shortest_edge") or (size.get("height") and size.get("width"))):
        raise _make_size_error(folder)


def _make_size_error(folder: Path) -> UsageError:
    return GROUNDING_DINO.unfit_error(
        f"{folder}: its image processor resizes to neither a shortest_edge nor a height and width"
    )


def check_tokenizer(folder: Path, tokenizer: Any, vocabulary: int) -> None:
    """Raises `UsageError` if the tokenizer has more tokens than the model, or separates names with other tokens."""
    ids = tuple(tokenizer.convert_tokens_to_ids(list(_SEPARATOR_TOKENS)))
    _check_tokens(folder, ids, len(tokenizer), vocabulary)


def _check_tokens(folder: Path, separators: tuple[int | None, ...], tokens: int, vocabulary: int) -> None:
    if separators != SEPARATORS:  # the model would treat the names as one long phrase
        raise GROUNDING_DINO.unfit_error(
            f"{folder}: its tokenizer has [CLS] [SEP] . ? as {separators}, not {SEPARATORS}; pass another folder"
        )
    if tokens > vocabulary:
        raise GROUNDING_DINO.unfit_error(
            f"{folder}: {tokens} tokens in its tokenizer, {vocabulary} in its model; pass another folder"
        )
