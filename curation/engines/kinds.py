"""Defines the kinds of engines: the input and output of an engine of each kind, and the column that it fills.

A recipe has one engine of a kind, except for captions, of which it may have several. Each engine is a stage of the run,
named by `StageName`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from numbers import Real
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

import pyarrow as pa

from curation.images.decode import RgbImage
from schemas.errors import ShardloomError
from schemas.records import box, model_caption, tag, text_line
from schemas.records.box import Detection
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.model_caption import CaptionStatus
from schemas.records.quarantine import Reason, Rejected
from schemas.records.tag import Tag
from schemas.records.text_line import TextLine

EngineKind = Literal["ocr", "tags", "boxes", "captions"]
"""What an engine annotates, which is also its column's name. Columns are written in this order, not the recipe's."""


class EngineUnusable(ShardloomError):
    """Says that an engine can work on no image, as where its server refuses the key.

    The run then ends. Any other exception of an engine is that of an image.
    """


class BaseEngine(Protocol):
    """Gives every engine its fingerprint.

    An engine is made once in each process, and called from one thread unless it `takes_concurrent_calls`.
    """

    fingerprint: EngineFingerprint


@runtime_checkable
class RetryReporter(Protocol):
    """Describes an engine that repeats requests to a server and can say which. An engine need not."""

    def report_retries_to(self, report: Callable[[Mapping[str, int]], object]) -> None:
        """Calls `report` with the number of requests that are being retried, by the reason, at each change."""
        ...


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
class CaptionRequest:
    """Asks for one caption."""

    id: str  # unique in the batch; the answer repeats it
    prompt: str  # the template with the image's fields filled in
    image: RgbImage | None  # None for an engine that needs no pixels


@dataclass(frozen=True, slots=True)
class CaptionAnswer:
    """Answers one request. With the status `error`, `detail` says why in one line, and the text is empty."""

    id: str  # of the request that it answers
    text: str
    status: CaptionStatus = "ok"
    finish_reason: str | None = None  # as the model or its server gives it
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    detail: str = ""


class CaptionEngine(BaseEngine, Protocol):
    """Writes a caption for an image by a prompt."""

    def annotate(self, requests: Sequence[CaptionRequest]) -> list[CaptionAnswer]:
        """Returns one answer for each request, in their order, each with the id of its request.

        A request that fails is answered with the status `error`, so that its neighbours are not asked again: where the
        engine raises, each request of the batch is repeated alone.
        """
        ...


@dataclass(frozen=True, slots=True)
class EngineInput:
    """Holds the input of an engine, one entry for each image in each field; no pixels for engines that need none."""

    images: Sequence[RgbImage]
    captions: Sequence[str]
    names: Sequence[Sequence[str]]  # of the image's tags, without repeats; only where the kind needs tags
    requests: Sequence[CaptionRequest] = ()  # only for caption engines

    def __len__(self) -> int:
        return len(self.captions)

    def slice(self, start: int, stop: int) -> "EngineInput":
        """Returns the input of the images from `start` to before `stop`."""
        part = slice(start, stop)
        return EngineInput(self.images[part], self.captions[part], self.names[part], self.requests[part])


E = TypeVar("E", bound=BaseEngine)


@dataclass(frozen=True)
class Kind(Generic[E]):
    """Describes one kind of engine, whose class is E."""

    name: EngineKind
    column: pa.Field
    annotate: Callable[[E, EngineInput], list[Any]]
    """Runs an engine on a batch and returns the column's values, one for each image, or the fault on an image."""
    needs_tags: bool = False
    """Whether an engine of this kind receives the image's tags."""


def _run_ocr(engine: OcrEngine, batch: EngineInput) -> list[Any]:
    return [_check_numbers(map(text_line.line_to_arrow, lines)) for lines in engine.annotate(batch.images)]


def _run_tags(engine: TagEngine, batch: EngineInput) -> list[Any]:
    return [_check_numbers(map(tag.tag_to_arrow, tags)) for tags in engine.annotate(batch.images, batch.captions)]


def _run_boxes(engine: BoxEngine, batch: EngineInput) -> list[Any]:
    return [_check_numbers(map(box.detection_to_arrow, found)) for found in engine.annotate(batch.images, batch.names)]


def _check_numbers(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]] | Rejected:
    """Returns what was found in an image, or the fault if a place or a score is NaN or infinite.

    No caption can be rendered from such an item, and no page can show it.
    """
    found = list(items)
    for item in found:
        for name, value in item.items():
            numbers = value if isinstance(value, Sequence) else (value,)
            if not all(math.isfinite(number) for number in numbers if isinstance(number, Real)):
                return Rejected(Reason.ENGINE_ERROR, f"the engine returned {name} {value}")
    return found


def _run_captions(engine: CaptionEngine, batch: EngineInput) -> list[Any]:
    answers = engine.annotate(batch.requests)[: len(batch)]
    return [_check_answer(*pair) for pair in zip_longest(batch.requests, answers)]


def _check_answer(request: CaptionRequest, answer: CaptionAnswer | None) -> dict[str, Any] | Rejected:
    """Returns the answer as the value of an `UNNAMED_CAPTION`, or the fault.

    It is one where the answer is an error, is missing, or answers another request.
    """
    if answer is None or answer.id != request.id:
        found = "no answer" if answer is None else f"the answer to {answer.id}"
        return Rejected(Reason.ENGINE_ERROR, f"the engine returned {found} for {request.id}")
    if answer.status == "error":
        return Rejected(Reason.ENGINE_ERROR, answer.detail)
    return {
        "text": answer.text.encode("utf-8", "replace").decode(),  # half of a surrogate pair becomes `?`
        "status": answer.status,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
    }


OCR = Kind[OcrEngine]("ocr", text_line.OCR_COLUMN, _run_ocr)
TAGS = Kind[TagEngine]("tags", tag.TAGS_COLUMN, _run_tags)
BOXES = Kind[BoxEngine]("boxes", box.BOXES_COLUMN, _run_boxes, needs_tags=True)
CAPTIONS = Kind[CaptionEngine]("captions", model_caption.CAPTIONS_COLUMN, _run_captions)

KINDS: dict[EngineKind, Kind[Any]] = {kind.name: kind for kind in (OCR, TAGS, BOXES, CAPTIONS)}
