"""From a recipe's engine to one that runs, with the column that it fills."""

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from curation.engines.boxes.demonstration import demonstration_words
from curation.engines.boxes.groundingdino_py import check_weights as check_package_weights
from curation.engines.ocr.paddleocr import find_weights
from curation.engines.tags.siglip_weights import check_weights
from curation.engines.tags.vocabulary import read_vocabulary
from curation.images.decode import RgbImage
from pipelines.recipes.annotate import EngineKind, EngineSpec
from schemas.errors import UsageError
from schemas.records.box import BOXES, detection_to_arrow
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.tag import TAGS, tag_to_arrow
from schemas.records.text_line import OCR, line_to_arrow

COLUMNS: dict[EngineKind, pa.Field] = {"ocr": OCR, "tags": TAGS, "boxes": BOXES}

DEFAULT_ENGINES: dict[EngineKind, str] = {"ocr": "rapidocr", "tags": "caption", "boxes": "grounding_dino"}
"""The engine of each kind that a laptop runs, with weights at hand."""

# Each brings a library that takes long to load: imported only where it runs.
ENGINES: dict[tuple[EngineKind, str], tuple[str, str, str]] = {
    ("ocr", "rapidocr"): ("curation.engines.ocr.rapidocr", "RapidOcr", "RapidOcrSettings"),
    ("ocr", "paddleocr"): ("curation.engines.ocr.paddleocr", "PaddleOcr", "PaddleOcrSettings"),
    ("tags", "caption"): ("curation.engines.tags.caption", "CaptionTags", "CaptionTagSettings"),
    ("tags", "siglip"): ("curation.engines.tags.siglip", "SiglipTags", "SiglipTagSettings"),
    ("boxes", "grounding_dino"): ("curation.engines.boxes.grounding_dino", "GroundingDino", "GroundingDinoSettings"),
    ("boxes", "groundingdino-py"): (
        "curation.engines.boxes.groundingdino_py",
        "GroundingDinoPy",
        "GroundingDinoPySettings",
    ),
}
OWN_ENVIRONMENTS: dict[tuple[EngineKind, str], str] = {
    ("ocr", "paddleocr"): "paddleocr",
    ("boxes", "groundingdino-py"): "groundingdino-py",
}
"""The engines whose packages can't be installed beside ours, and the environments that have them."""

_WITHOUT_PIXELS = "caption"


@dataclass(frozen=True, slots=True)
class Batch:
    """What an engine may look at. One entry an image in each; no pixels for engines that need none."""

    images: Sequence[RgbImage]
    captions: Sequence[str]
    names: Sequence[Sequence[str]]  # of the image's tags, without repeats


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine as the pipeline uses it: images in, values of its column out."""

    fingerprint: EngineFingerprint
    column: pa.Field
    annotate: Callable[[Batch], list[Any]]


def load_engine(kind: EngineKind, spec: EngineSpec, prepared: Any = None, *, sees_gpus: bool = True) -> Engine:
    """The engine, with its weights loaded. Raises `UsageError` for unknown engines and settings."""
    _hide_gpus(sees_gpus)
    make, settings = _factory(kind, spec)
    if prepared is not None:
        settings = settings | {"prepared": prepared}
    try:
        engine = make(**settings)
    except TypeError as error:
        raise UsageError(f"engines.{kind}: cannot make {spec.engine!r}: {error}") from None
    return Engine(engine.fingerprint, COLUMNS[kind], _annotate(kind, engine))


def prepare(kind: EngineKind, spec: EngineSpec, *, sees_gpus: bool = True) -> Any:
    """What all workers of an engine share, worked out once a run; None for most."""
    _hide_gpus(sees_gpus)
    make, settings = _factory(kind, spec)
    return make.prepare(**settings) if hasattr(make, "prepare") else None


def _hide_gpus(sees_gpus: bool) -> None:
    """Ray hides no GPU from a worker that asked for none: each would take the first."""
    if not sees_gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def needs_preparing(kind: EngineKind, spec: EngineSpec) -> bool:
    """Whether `prepare` has anything to do."""
    return hasattr(_factory(kind, spec)[0], "prepare")


def environment(kind: EngineKind, spec: EngineSpec) -> str | None:
    """The name of the environment that the engine runs in; None for ours. Raises `UsageError` for missing weights."""
    name = OWN_ENVIRONMENTS.get((kind, spec.engine))
    if name == "paddleocr" and not find_weights(_settings(kind, spec).weights).is_onnx:
        return "paddleocr-gpu"
    return name


def needs_pixels(spec: EngineSpec) -> bool:
    """Whether the engine looks at images at all."""
    return spec.engine != _WITHOUT_PIXELS


def check_engines(specs: Mapping[EngineKind, EngineSpec]) -> list[str]:
    """Raises `UsageError` for what is wrong with engines before any work is done. Loads no weights.

    Returns what the user should be told of the engines.
    """
    engines: dict[EngineKind, tuple[str, Any]] = {
        kind: (spec.engine, _settings(kind, spec)) for kind, spec in specs.items()
    }
    for kind, spec in specs.items():
        environment(kind, spec)
    vocabulary: Sequence[str] | None = ()  # None: not known
    match engines.get("tags"):
        case ("caption" | "siglip" as engine, settings):
            vocabulary = read_vocabulary(settings.vocabulary).names
            if engine == "siglip":
                check_weights(settings)
        case (_, _):
            vocabulary = None
    match engines.get("boxes"):
        case ("grounding_dino", settings):
            return _check_demonstration(settings, vocabulary)
        case ("groundingdino-py", settings):
            check_package_weights(settings)
    return []


def _check_demonstration(settings: Any, vocabulary: Sequence[str] | None) -> list[str]:
    """Weights that are for demonstration know a few words, and would box anything for all others."""
    words = demonstration_words(settings)
    if words is None:
        return []
    if vocabulary is None and not settings.allow_out_of_vocabulary:
        raise UsageError(
            f"engines.boxes: the demonstration weights know {len(words)} things, and engines.tags is an engine whose "
            "vocabulary is not known: pass --weights boxes=FOLDER with real ones, or --allow-out-of-vocabulary"
        )
    unknown = [name for name in vocabulary or () if name not in words]
    if unknown and not settings.allow_out_of_vocabulary:
        raise UsageError(
            f"engines.boxes: the demonstration weights know {len(words)} things, and the tag vocabulary has "
            f"{len(unknown)} others ({', '.join(unknown[:3])}, ...): pass --weights boxes=FOLDER with real ones, "
            "--vocabulary FILE with things that they know, or --allow-out-of-vocabulary"
        )
    return [f"boxes: demonstration weights, which know {len(words)} drawn things; pass --weights boxes=FOLDER for real"]


def _annotate(kind: EngineKind, engine: Any) -> Callable[[Batch], list[Any]]:
    match kind:
        case "ocr":
            return lambda batch: [list(map(line_to_arrow, lines)) for lines in engine.annotate(batch.images)]
        case "tags":
            return lambda batch: [
                list(map(tag_to_arrow, tags)) for tags in engine.annotate(batch.images, batch.captions)
            ]
        case "boxes":
            return lambda batch: [
                list(map(detection_to_arrow, found)) for found in engine.annotate(batch.images, batch.names)
            ]


def _settings(kind: EngineKind, spec: EngineSpec) -> Any:
    """The engine's settings, checked; None for an engine of one's own."""
    return _factory(kind, spec)[1].get("settings")


def _factory(kind: EngineKind, spec: EngineSpec) -> tuple[Any, dict[str, Any]]:
    """The engine's class and what it is made with; its settings are checked."""
    try:
        if (kind, spec.engine) in ENGINES:
            module, name, settings = ENGINES[kind, spec.engine]
            home = importlib.import_module(module)
            return getattr(home, name), {"settings": getattr(home, settings).model_validate(spec.settings)}
        module, _, name = spec.engine.partition(":")
        if not name:
            known = ", ".join(engine for of, engine in ENGINES if of == kind)
            raise UsageError(f"engines.{kind}: no engine is named {spec.engine!r}: {known}, or package.module:Class")
        return getattr(importlib.import_module(module), name), dict(spec.settings)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise UsageError(f"engines.{kind}.settings: {faults}") from None
    except (ImportError, AttributeError) as error:
        raise UsageError(f"engines.{kind}: cannot make {spec.engine!r}: {error}") from None
