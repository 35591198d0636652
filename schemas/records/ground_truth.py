"""What is truly in a picture: the JSONL files that annotations are measured against, one picture a line.

    {"file": "photos/voc__01.jpg", "width": 500, "height": 375, "exhaustive_for": ["dog", "cat"],
     "objects": [{"label": "dog", "bbox_xyxy": [9, 4, 90, 80], "difficult": false}], "coords": "pixels, VOC 1-based"}
    {"file": "ocr/sroie__019.jpg", "width": 447, "height": 915, "complete": true,
     "items": [{"text": "TOTAL", "bbox": [43, 87, 350, 111], "ignore": false}]}

An entry may say by its own `uid` which image of a data set it tells of. Where it doesn't, an index file does: one line
`{"uid": ..., "file": ...}` an image, `file` null for images that no entry tells of. Keys that are not read are let be.
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

from schemas.errors import UsageError, one_line
from schemas.records.box import Box

Pixel = Annotated[float, Field(allow_inf_nan=False)]
Side = Annotated[int, Field(gt=0, le=1_000_000)]  # beyond all pictures, and within what a float can divide by


def _has_area(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    if not (box[0] < box[2] and box[1] < box[3]):
        raise PydanticCustomError("box", "not x1, y1, x2, y2 with x1 < x2 and y1 < y2")
    return box


PixelBox = Annotated[tuple[Pixel, Pixel, Pixel, Pixel], AfterValidator(_has_area)]
"""x1, y1, x2, y2 in pixels of the picture as `width` and `height` tell it."""


@dataclass(frozen=True, slots=True)
class TrueBox:
    """One thing that is in a picture. `difficult` ones, as VOC calls them, need not be found, and may be."""

    label: str
    box: Box
    difficult: bool = False


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class _Picture(_Line):
    """What entries of both kinds say."""

    file: str
    uid: str | None = None
    width: Side  # pixels of the picture that the boxes were drawn on; the stored one may be scaled
    height: Side

    def _normalised(self, box: tuple[float, float, float, float]) -> Box:
        return box[0] / self.width, box[1] / self.height, box[2] / self.width, box[3] / self.height


class TrueObject(_Line):
    """A thing as the file has it."""

    label: str
    bbox_xyxy: PixelBox
    difficult: bool = False


class BoxTruth(_Picture):
    """The things in one picture."""

    objects: list[TrueObject] = []
    exhaustive_for: list[str] = []  # classes of which every instance is in `objects`; of others some may be missing
    image_labels: list[Any] = []  # classes of the whole picture: such entries have no boxes
    coords: str = "pixels"  # "1-based" in it: the first pixel has number 1, as in VOC's own files

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set & {"objects", "image_labels"}:
            raise PydanticCustomError("empty", "has neither objects nor image_labels: is this a truth of boxes?")
        return self

    @property
    def has_boxes(self) -> bool:
        """False where the entry only says what the whole picture shows."""
        return bool(self.objects) or not self.image_labels

    @property
    def boxes(self) -> list[TrueBox]:
        """The things, their boxes normalised."""
        first = 1 if "1-based" in self.coords else 0
        found = []
        for item in self.objects:
            x1, y1, x2, y2 = item.bbox_xyxy  # VOC's last pixel is inside: counted from 1, it is where the box ends
            found.append(TrueBox(item.label, self._normalised((x1 - first, y1 - first, x2, y2)), item.difficult))
        return found


class TrueText(_Line):
    """A line or a word of text as the file has it."""

    text: str | None  # None in pictures that are `boxes_only`
    bbox: PixelBox | None = None
    ignore: bool = False  # marked illegible: may be read or not, at no cost


@dataclass(frozen=True, slots=True)
class Collection:
    """Pictures of one kind, told by how their files are called, and how their truth is written."""

    name: str
    prefix: str
    ignore_case: bool = False
    spaces: bool = True


COLLECTIONS = (
    Collection("scene", "ocr/mmocr__img_"),  # ICDAR 2015: word boxes without text
    Collection("receipt", "ocr/mmocr__1.jpeg", spaces=False),  # WildReceipt: written without spaces
    Collection("receipt", "ocr/mmocr__2.jpeg", spaces=False),
    Collection("word", "ocr/mmocr__"),  # IIIT5K: crops of one word
    Collection("sroie", "ocr/ICDAR-2019-SROIE__", ignore_case=True),  # receipts, all in capitals in the truth
    Collection("uw3", "ocr/calamari__"),  # lines of scanned pages
    Collection("scripts", "ocr/RapidOCR__"),  # one asserted line each, many scripts, some not in the default weights
)
"""The collections whose truth has ways of its own; the first that fits counts."""


class TextTruth(_Picture):
    """The text in one picture."""

    items: list[TrueText]
    complete: bool  # False: there may be more text than this
    boxes_only: bool = False
    case_insensitive: bool = False
    kind: str | None = None  # of picture, where the file tells kinds apart

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for place, item in enumerate(self.items):
            if item.ignore or (item.bbox if self.boxes_only else item.text) is not None:
                continue
            missing = "bbox" if self.boxes_only else "text"
            raise PydanticCustomError("empty", "items.{place}.{missing} is null", {"place": place, "missing": missing})
        return self

    @property
    def collection(self) -> Collection:
        """What the picture is counted under: a known collection, its kind, or its file's name up to `__` or `/`."""
        for known in COLLECTIONS:
            if self.file.startswith(known.prefix):
                return known
        prefix, _, rest = self.file.partition("__")
        return Collection(self.kind or (prefix if rest else self.file.rpartition("/")[0] or "."), prefix)

    @property
    def places(self) -> list[Box]:
        """Where legible text is, as far as the truth says."""
        return [self._normalised(item.bbox) for item in self.items if item.bbox and not item.ignore]

    @property
    def ignored(self) -> list[Box]:
        """Where illegible text is."""
        return [self._normalised(item.bbox) for item in self.items if item.bbox and item.ignore]

    @property
    def texts(self) -> list[str]:
        """The legible text, item by item."""
        return [item.text for item in self.items if item.text is not None and not item.ignore]


class _Tie(_Line):
    uid: str
    file: str | None


L = TypeVar("L", bound=_Line)


def read_box_truth(data: bytes, path: str) -> list[BoxTruth]:
    """The entries of a truth of boxes. Raises `UsageError` naming `path` and the line that is wrong."""
    return _without_repeats(_lines(BoxTruth, data, path), path)


def read_text_truth(data: bytes, path: str) -> list[TextTruth]:
    """The entries of a truth of text. Raises `UsageError` naming `path` and the line that is wrong."""
    return _without_repeats(_lines(TextTruth, data, path), path)


def read_index(data: bytes, path: str) -> dict[str, list[str]]:
    """The uids of each file of a truth; several where a data set has the picture several times. Raises `UsageError`."""
    uids: dict[str, list[str]] = {}
    for _, tie in _lines(_Tie, data, path):
        if tie.file is not None:
            uids.setdefault(tie.file, []).append(tie.uid)
    return uids


P = TypeVar("P", bound=_Picture)


def _without_repeats(lines: Iterator[tuple[int, P]], path: str) -> list[P]:
    found: list[P] = []
    first: dict[str, int] = {}
    for number, picture in lines:
        if (before := first.setdefault(picture.file, number)) != number:
            raise UsageError(f"{path}, line {number}: line {before} tells of {picture.file!r} already")
        found.append(picture)
    if not found:
        raise UsageError(f"{path} is empty: a truth has a line for each picture")
    return found


def _lines(model: type[L], data: bytes, path: str) -> Iterator[tuple[int, L]]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, model.model_validate_json(line)
        except ValidationError as error:
            fault = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, fault["loc"]))
            message = one_line(fault["msg"])
            raise UsageError(f"{path}, line {number}: {f'{where}: ' if where else ''}{message}") from None
