"""Defines a tag: an entry of a vocabulary that an image's caption mentions or that the image shows."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Tag:
    """Holds an entry of a tag vocabulary, and where it comes from.

    There is one tag for each mention in the caption, with its span in characters (`caption[start:end]`), and one for
    each entry that the engine recognised in the picture itself, which has no span.
    """

    name: str  # as the vocabulary spells it
    score: float  # 0 to 1; a mention's is 1
    source: Literal["caption", "image"]
    start: int | None = None
    end: int | None = None


TAG = pa.struct(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("start", pa.int32()),
        pa.field("end", pa.int32()),
    ]
)
"""The Arrow type of `Tag`."""

TAGS_COLUMN = pa.field("tags", pa.list_(pa.field("item", TAG, nullable=False)))
"""The annotation column that the tag engine fills: mentions in order, then entries seen in the picture, best first."""


def tag_to_arrow(tag: Tag) -> dict[str, Any]:
    """Returns the dict that `pa.array(..., type=TAGS.type)` takes for one tag."""
    return asdict(tag)
