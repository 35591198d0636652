"""Defines the kinds of engines: the input and output of an engine of each kind, and the column that it fills."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import pyarrow as pa

from curation.images.decode import RgbImage
from schemas.records import box, tag, text_line
from schemas.records.box import Detection
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.tag import Tag
from schemas.records.text_line import TextLine

EngineKind = Literal["ocr", "tags", "boxes"]
"""What an engine annotates, which is also its column's name. Columns are written in this order, not the recipe's."""


class BaseEngine(Protocol):
    """Gives every engine its fingerprint. An engine is made once in each process, and called from one thread."""

    fingerprint: EngineFingerprint


class OcrEngine(BaseEngine, Protocol):
    """Reads text in images."""

    def annotate(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        """Returns the lines of each image in reading order, one list per image, empty where there is no text."""
        ...


class TagEngine(BaseEngine, Protocol):
    """Names the entries of a vocabulary that an image shows."""

    def annotate(self, images: Sequence[RgbImage], captions: Sequence[str]) -> list[list[Tag]]:
        """Returns the tags of each image and its alt text, one list per image, empty where there are none."""
        ...


class BoxEngine(BaseEngine, Protocol):
    """Finds things in images by their names."""

    def annotate(self, images: Sequence[RgbImage], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Returns the boxes of the things with these names (without repeats) in each image, highest score first."""
        ...


@dataclass(frozen=True, slots=True)
class EngineInput:
    """Holds the input of an engine, one entry for each image in each field; no pixels for engines that need none."""

    images: Sequence[RgbImage]
    captions: Sequence[str]
    names: Sequence[Sequence[str]]  # of the image's tags, without repeats; only where the kind needs tags

    def __len__(self) -> int:
        return len(self.captions)

    def slice(self, start: int, stop: int) -> "EngineInput":
        """Returns the input of the images from `start` to before `stop`."""
        return EngineInput(self.images[start:stop], self.captions[start:stop], self.names[start:stop])


E = TypeVar("E", bound=BaseEngine)


@dataclass(frozen=True)
class Kind(Generic[E]):
    """Describes one kind of engine, whose class is E."""

    name: EngineKind
    column: pa.Field
    annotate: Callable[[E, EngineInput], list[Any]]
    """Runs an engine on a batch and returns the column's values, one for each image."""
    needs_tags: bool = False
    """Whether an engine of this kind receives the image's tags."""


def _run_ocr(engine: OcrEngine, batch: EngineInput) -> list[Any]:
    return [list(map(text_line.line_to_arrow, lines)) for lines in engine.annotate(batch.images)]


def _run_tags(engine: TagEngine, batch: EngineInput) -> list[Any]:
    return [list(map(tag.tag_to_arrow, tags)) for tags in engine.annotate(batch.images, batch.captions)]


def _run_boxes(engine: BoxEngine, batch: EngineInput) -> list[Any]:
    return [list(map(box.detection_to_arrow, found)) for found in engine.annotate(batch.images, batch.names)]


OCR = Kind[OcrEngine]("ocr", text_line.OCR_COLUMN, _run_ocr)
TAGS = Kind[TagEngine]("tags", tag.TAGS_COLUMN, _run_tags)
BOXES = Kind[BoxEngine]("boxes", box.BOXES_COLUMN, _run_boxes, needs_tags=True)

KINDS: dict[EngineKind, Kind[Any]] = {kind.name: kind for kind in (OCR, TAGS, BOXES)}
