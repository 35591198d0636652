"""From a recipe's engine to one that runs, with the column that it fills."""

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from curation.decode import RgbImage
from pipelines.recipe import EngineSpec
from schemas.errors import UsageError
from schemas.fingerprint import EngineFingerprint
from schemas.text_line import OCR, line_to_arrow


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine as the pipeline uses it: images in, values of its column out."""

    fingerprint: EngineFingerprint
    column: pa.Field
    annotate: Callable[[Sequence[RgbImage]], list[Any]]


def load_engine(name: str, spec: EngineSpec) -> Engine:
    """The engine, with its weights loaded. Raises `UsageError` for unknown engines and settings."""
    assert name == "ocr", f"recipes admit no engine {name!r}"
    ocr = _instance(name, spec)

    def annotate(images: Sequence[RgbImage]) -> list[Any]:
        return [[line_to_arrow(line) for line in lines] for lines in ocr.annotate(images)]

    return Engine(ocr.fingerprint, OCR, annotate)


def check_engines(specs: Mapping[Any, EngineSpec]) -> None:
    """Raises `UsageError` for what is wrong with engines before any work is done. Loads no weights."""
    for name, spec in specs.items():
        _factory(name, spec)


def _instance(name: str, spec: EngineSpec) -> Any:
    try:
        return _factory(name, spec)()
    except TypeError as error:
        raise UsageError(f"engines.{name}: cannot make {spec.engine!r}: {error}") from None


def _factory(name: str, spec: EngineSpec) -> Callable[[], Any]:
    """Makes the engine when it is called; its settings are checked already."""
    try:
        if spec.engine == "rapidocr":
            from curation.engines.rapidocr import RapidOcr, RapidOcrSettings  # brings ONNX Runtime: only where it runs

            return functools.partial(RapidOcr, RapidOcrSettings.model_validate(spec.settings))
        module, _, attribute = spec.engine.partition(":")
        if not attribute:
            raise UsageError(f"engines.{name}: no engine is named {spec.engine!r}: rapidocr, or package.module:Class")
        return functools.partial(getattr(importlib.import_module(module), attribute), **spec.settings)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise UsageError(f"engines.{name}.settings: {faults}") from None
    except (ImportError, AttributeError) as error:
        raise UsageError(f"engines.{name}: cannot make {spec.engine!r}: {error}") from None
