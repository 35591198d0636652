"""Reads ground truth: JSONL files that annotations are measured against, one picture per line.

    {"file": "photos/voc__01.jpg", "width": 500, "height": 375, "exhaustive_for": ["dog", "cat"],
     "objects": [{"label": "dog", "bbox_xyxy": [9, 4, 90, 80], "difficult": false}], "coords": "pixels, VOC 1-based"}
    {"file": "ocr/sroie__019.jpg", "width": 447, "height": 915, "complete": true,
     "items": [{"text": "TOTAL", "bbox": [43, 87, 350, 111], "ignore": false}]}

An entry may name its image of a data set by its own `uid`. Otherwise an index file does: one line
`{"uid": ..., "file": ...}` per image, with `file` null for images that have no entry. Unknown keys are ignored.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from schemas.compression import SIGNATURE_BYTES, check_uncompressed
from schemas.errors import UsageError, to_one_line
from schemas.records.box import Box

Pixel = Annotated[float, Field(allow_inf_nan=False)]
Side = Annotated[int, Field(gt=0, le=1_000_000)]  # larger than any picture, and small enough to divide a float by


def _check_area(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    if not (box[0] < box[2] and box[1] < box[3]):
        raise PydanticCustomError("box", "not x1, y1, x2, y2 with x1 < x2 and y1 < y2")
    return box


PixelBox = Annotated[tuple[Pixel, Pixel, Pixel, Pixel], AfterValidator(_check_area)]
"""x1, y1, x2, y2 in pixels of a picture of the entry's `width` and `height`."""


@dataclass(frozen=True, slots=True)
class TrueBox:
    """Holds one object in a picture. A `difficult` one, as VOC calls it, need not be found, and may be."""

    label: str
    box: Box
    difficult: bool = False


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class _Picture(_Line):
    """Holds the fields that entries of both kinds share."""

    file: str
    uid: str | None = None
    width: Side  # pixels of the picture on which the boxes were drawn; the stored picture may be scaled
    height: Side

    def has_shape_of(self, width: int, height: int) -> bool:
        """Returns whether an image is a scaled copy of the picture, with sides rounded to pixels."""
        return (
            abs(width * self.height / self.width - height) <= 1 or abs(height * self.width / self.height - width) <= 1
        )

    def _normalise(self, box: tuple[float, float, float, float]) -> Box:
        return box[0] / self.width, box[1] / self.height, box[2] / self.width, box[3] / self.height


class TrueObject(_Line):
    """Holds an object as the file stores it."""

    label: str
    bbox_xyxy: PixelBox
    difficult: bool = False


class BoxTruth(_Picture):
    """Holds the objects in one picture."""

    objects: list[TrueObject] = []
    exhaustive_for: list[str] = []  # classes whose instances are all in `objects`; others may be missing
    image_labels: list[Any] = []  # classes of the whole picture; such entries have no boxes
    coords: str = "pixels"  # contains "1-based" if the first pixel has number 1, as in VOC's own files

    @model_validator(mode="after")
    def _check_not_empty(self) -> Self:
        if not self.model_fields_set & {"objects", "image_labels"}:
            raise PydanticCustomError("empty", "has neither objects nor image_labels: is this a ground truth of boxes?")
        return self

    @property
    def has_boxes(self) -> bool:
        """Returns whether the entry has boxes; False if it only labels the whole picture."""
        return bool(self.objects) or not self.image_labels

    @property
    def boxes(self) -> list[TrueBox]:
        """Returns the objects with their boxes normalised to [0, 1]."""
        first = 1 if "1-based" in self.coords else 0
        found = []
        for item in self.objects:
            x1, y1, x2, y2 = item.bbox_xyxy  # VOC's last pixel is inclusive: counted from 1, it is the end
            found.append(TrueBox(item.label, self._normalise((x1 - first, y1 - first, x2, y2)), item.difficult))
        return found


class TrueText(_Line):
    """Holds a line or a word of text as the file stores it."""

    text: str | None  # None in pictures that are `boxes_only`
    bbox: PixelBox | None = None
    ignore: bool = False  # illegible: neither reading nor missing it counts


@dataclass(frozen=True, slots=True)
class PictureCollection:
    """Describes pictures of one kind: the prefix of their file names, and how their ground truth is written."""

    name: str
    prefix: str
    ignore_case: bool = False
    spaces: bool = True


COLLECTIONS = (
    PictureCollection("scene", "ocr/mmocr__img_"),  # ICDAR 2015: boxes of words, without text
    PictureCollection("receipt", "ocr/mmocr__1.jpeg", spaces=False),  # WildReceipt: written without spaces
    PictureCollection("receipt", "ocr/mmocr__2.jpeg", spaces=False),
    PictureCollection("word", "ocr/mmocr__"),  # IIIT5K: crops of one word
    PictureCollection(
        "sroie", "ocr/ICDAR-2019-SROIE__", ignore_case=True
    ),  # receipts, whose ground truth is all capitals
    PictureCollection("uw3", "ocr/calamari__"),  # lines of scanned pages
    PictureCollection("scripts", "ocr/RapidOCR__"),  # one line each, many scripts, some not in the default weights
)
"""The collections whose ground truth has conventions of its own; the first match counts."""


class TextTruth(_Picture):
    """Holds the text in one picture."""

    items: list[TrueText]
    complete: bool  # False if the picture may have more text than this
    boxes_only: bool = False
    case_insensitive: bool = False
    kind: str | None = None  # kind of picture, if the file distinguishes kinds

    @model_validator(mode="after")
    def _check_items(self) -> Self:
        for place, item in enumerate(self.items):
            if item.ignore or (item.bbox if self.boxes_only else item.text) is not None:
                continue
            missing = "bbox" if self.boxes_only else "text"
            raise PydanticCustomError("empty", "items.{place}.{missing} is null", {"place": place, "missing": missing})
        return self

    @property
    def collection(self) -> PictureCollection:
        """Returns the collection that the picture counts under.

        That is a known collection, or one named after its kind or its file's name up to `__` or `/`.
        """
        for known in COLLECTIONS:
            if self.file.startswith(known.prefix):
                return known
        prefix, _, rest = self.file.partition("__")
        return PictureCollection(self.kind or (prefix if rest else self.file.rpartition("/")[0] or "."), prefix)

    @property
    def legible_boxes(self) -> list[Box]:
        """Returns the boxes of the legible texts, normalised to [0, 1]; texts without a box are left out."""
        return [self._normalise(item.bbox) for item in self.items if item.bbox and not item.ignore]

    @property
    def illegible_boxes(self) -> list[Box]:
        """Returns the boxes of the illegible texts, normalised to [0, 1]."""
        return [self._normalise(item.bbox) for item in self.items if item.bbox and item.ignore]

    @property
    def placed_items(self) -> list[tuple[TrueText, Box | None]]:
        """Returns all items, each with its box normalised to [0, 1], if it has one."""
        return [(item, None if item.bbox is None else self._normalise(item.bbox)) for item in self.items]

    @property
    def texts(self) -> list[str]:
        """Returns the legible texts, item by item."""
        return [item.text for item in self.items if item.text is not None and not item.ignore]


class _IndexLine(_Line):
    uid: str
    file: str | None


L = TypeVar("L", bound=_Line)


def read_box_truth(data: bytes, path: str) -> list[BoxTruth]:
    """Reads a ground truth of boxes. Raises `UsageError` naming `path` and the line that is wrong."""
    return _refuse_repeats(_parse_lines(BoxTruth, data, path), path)


def read_text_truth(data: bytes, path: str) -> list[TextTruth]:
    """Reads a ground truth of text. Raises `UsageError` naming `path` and the line that is wrong."""
    return _refuse_repeats(_parse_lines(TextTruth, data, path), path)


def read_truth_index(data: bytes, path: str) -> dict[str, list[str]]:
    """Reads an index: the uids of each ground-truth file, several if a data set has the picture several times.

    Raises `UsageError` naming `path` and the line that is wrong.
    """
    uids: dict[str, list[str]] = {}
    for _, tie in _parse_lines(_IndexLine, data, path):
        if tie.file is not None:
            uids.setdefault(tie.file, []).append(tie.uid)
    return uids


P = TypeVar("P", bound=_Picture)


def _refuse_repeats(lines: Iterator[tuple[int, P]], path: str) -> list[P]:
    found: list[P] = []
    first: dict[str, int] = {}
    for number, picture in lines:
        if (before := first.setdefault(picture.file, number)) != number:
            raise UsageError(f"{path}, line {number}: line {before} already describes {picture.file!r}")
        found.append(picture)
    if not found:
        raise UsageError(f"{path} is empty: a ground truth has one line for each picture")
    return found


def _parse_lines(model: type[L], data: bytes, path: str) -> Iterator[tuple[int, L]]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, model.model_validate_json(line)
        except ValidationError as error:
            check_uncompressed(path, data[:SIGNATURE_BYTES])
            fault = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, fault["loc"]))
            message = to_one_line(fault["msg"])
            raise UsageError(f"{path}, line {number}: {f'{where}: ' if where else ''}{message}") from None
