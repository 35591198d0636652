"""Defines what a page of `view` shows, as plain data: the kinds of sets fill it, and `html` alone knows any markup."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

MAX_TEXT = 20_000  # characters of one text that are shown: ten pages of print

Points = tuple[float, ...]
"""The corners x, y of an outline, as fractions of the picture."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Holds an outline over a picture. `number` is unique in its card; texts refer to it."""

    number: int
    layer: str  # the annotation column that it is from
    points: Points
    label: str
    score: float | None = None
    is_labelled: bool = False  # whether its label is written beside it
    status: str = ""  # against a ground truth: `missed` or `false_alarm`


@dataclass(frozen=True, slots=True)
class Piece:
    """Holds a run of text that belongs to the same shapes, or states the same claim."""

    text: str
    shapes: tuple[int, ...] = ()
    status: str = ""  # of a claim: `supported`, `contradicted` or `unchecked`
    note: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """Holds a text under a small heading."""

    title: str
    pieces: tuple[Piece, ...]
    note: str = ""  # beside the heading
    role: str = ""  # of a turn of a conversation
    is_code: bool = False  # of which white space matters

    @property
    def is_empty(self) -> bool:
        """Returns whether there are no characters."""
        return not any(piece.text for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class TextGroup:
    """Holds the captions of one family. The first stays open, and the others unfold."""

    title: str
    texts: tuple[Text, ...]
    origin: tuple[tuple[str, str], ...] = ()  # where they come from: names with values, which unfold


@dataclass(frozen=True, slots=True)
class Picture:
    """Holds a picture as a data URI with the shapes over it, or the reason why there is none."""

    source: str = ""
    width: int = 0  # pixels of the thumbnail
    height: int = 0
    shapes: tuple[Shape, ...] = ()
    fault: str = ""
    title: str = ""  # what an alternative text says


@dataclass(frozen=True, slots=True)
class Chip:
    """Holds a word with a figure, such as a tag with its score."""

    text: str
    note: str = ""
    shapes: tuple[int, ...] = ()
    status: str = ""  # as of a piece


@dataclass(frozen=True, slots=True)
class Chips:
    """Holds words in a row under a heading."""

    title: str
    chips: tuple[Chip, ...]


Block = Picture | Text | TextGroup | Chips


@dataclass(frozen=True, slots=True)
class Card:
    """Holds one sample: facts about it, and blocks in reading order."""

    key: str
    blocks: tuple[Block, ...]
    facts: tuple[tuple[str, str], ...] = ()
    is_wide: bool = False  # a document or conversation, whose pictures stay between its texts

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Returns the pictures that are shown beside the text; none of a document."""
        return () if self.is_wide else tuple(block for block in self.blocks if isinstance(block, Picture))

    @property
    def is_conversation(self) -> bool:
        """Returns whether its texts are turns."""
        return any(isinstance(block, Text) and block.role for block in self.blocks)

    @property
    def others(self) -> tuple[Block, ...]:
        """Returns the blocks that are not shown beside."""
        return self.blocks if self.is_wide else tuple(one for one in self.blocks if not isinstance(one, Picture))


@dataclass(frozen=True, slots=True)
class Section:
    """Holds cards under a heading."""

    title: str
    cards: tuple[Card, ...]
    note: str = ""
    is_dense: bool = False  # small cards, several in a row
    holds_samples: bool = True


@dataclass(frozen=True, slots=True)
class Bars:
    """Holds a chart of named counts or shares: label, length from 0 to 1, and the figure in words."""

    title: str
    rows: tuple[tuple[str, float, str], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Interval:
    """Holds a measured figure with the ends of its interval, as lengths from 0 to 1, and in words."""

    name: str
    value: float
    low: float
    high: float
    shown: str


@dataclass(frozen=True, slots=True)
class Intervals:
    """Holds a chart of measured figures."""

    title: str
    rows: tuple[Interval, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """Holds a chart as SVG that this program has drawn, with every text in it escaped."""

    title: str
    svg: str
    note: str = ""


Chart = Bars | Intervals | Drawing


@dataclass(slots=True)
class Page:
    """Holds a page."""

    title: str
    kind: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    layers: tuple[str, ...] = ()  # the layers of shapes that a reader may hide


def make_text(title: str, text: str, note: str = "", role: str = "") -> Text:
    """Returns a text in one piece, cut at `MAX_TEXT`."""
    return Text(title, (Piece(text[:MAX_TEXT]), *describe_rest(text)), note, role)


def describe_rest(text: str) -> tuple[Piece, ...]:
    """Returns what a page says of the characters that it does not show; nothing if it shows all."""
    return (Piece(f" [{len(text) - MAX_TEXT:,} more characters]"),) if len(text) > MAX_TEXT else ()


def number_shapes(shapes: Sequence[Shape], first: int) -> tuple[Shape, ...]:
    """Returns shapes numbered from `first`, in their order."""
    return tuple(replace(one, number=number) for number, one in enumerate(shapes, first))


def list_layers(cards: Sequence[Card]) -> tuple[str, ...]:
    """Returns the layers of the shapes in these cards, in the order in which they first come."""
    return tuple(dict.fromkeys(shape.layer for card in cards for one in card.pictures for shape in one.shapes))
