"""Defines an explanation: the captions of a sample, what their words came from, and the steps back to the source."""

from dataclasses import asdict, dataclass, field
from typing import Any

from schemas.records.fingerprint import EngineFingerprint

Facts = tuple[tuple[str, str | int], ...]
"""Names with what is known of them, in the order in which they are shown."""

TRAINED = "the text to train on"
"""The name of a text that is none of the captions."""

Pixels = tuple[int, int, int, int]
"""A place in an upright image: left, top, right, bottom; the last two are outside."""


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """Names the bytes of an image."""

    file: str  # a tar, or a Parquet file
    member: str  # its name in the tar; the row, in Parquet
    offset: int | None  # of its first byte in the tar
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Step:
    """Describes one step on the way back: the command that wrote a row, and where the row is."""

    command: str  # "source" for the file of a published set or an image shard
    place: str  # the set's folder; the file, of a source
    row: str  # the file in the set and the row in it, from 0
    facts: Facts = ()
    image: ImageBytes | None = None


@dataclass(frozen=True, slots=True)
class Detection:
    """Describes what an engine found: a line of text, a box, a tag, or the caption that a model wrote."""

    column: str  # the annotation column
    number: int | None  # its place in the column's list; None where the annotations are not known
    text: str
    score: float | None
    stage: str  # the engine's stage: a key of `Explanation.engines`
    outline: tuple[float, ...] = ()  # corners x, y as fractions of the image
    pixels: Pixels | None = None  # around the outline


@dataclass(frozen=True, slots=True)
class CaptionText:
    """Holds a caption of the sample."""

    name: str
    text: str
    is_trained_on: bool = False


@dataclass(frozen=True, slots=True)
class SpanOrigin:
    """Describes what `text[start:end]` of a caption came from. `status` and `note` are those of a claim."""

    caption: int  # the number of the caption
    start: int
    end: int
    text: str
    detections: tuple[Detection, ...] = ()
    status: str = ""
    note: str = ""
    number: int | None = None  # among all spans of the sample; None for words that a user asks for

    @property
    def place(self) -> Detection | None:
        """Returns the first detection that has a place in the image."""
        return next((one for one in self.detections if one.pixels is not None), None)


@dataclass(slots=True)
class Explanation:
    """Holds all that is known of a sample."""

    output_set: str
    key: str
    captions: list[CaptionText] = field(default_factory=list)
    spans: list[SpanOrigin] = field(default_factory=list)
    """In the order of the captions."""
    engines: dict[str, EngineFingerprint] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    """From the set back to the source."""
    notes: list[str] = field(default_factory=list)
    image: bytes | None = None
    """The bytes of the image, as the last step that has them holds them."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the explanation as plain data, without the bytes of the image."""
        return {
            "set": self.output_set,
            "key": self.key,
            "captions": [asdict(one) for one in self.captions],
            "spans": [asdict(one) for one in self.spans],
            "engines": {stage: made.model_dump() for stage, made in self.engines.items()},
            "steps": [asdict(one) | {"facts": dict(one.facts)} for one in self.steps],
            "notes": self.notes,
        }
