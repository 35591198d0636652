"""Defines a box in an image, and an object that a detector found."""

from dataclasses import dataclass

import pyarrow as pa

Box = tuple[float, float, float, float]
"""A box as x1, y1, x2, y2 (top-left, bottom-right), normalised to [0, 1] of the decoded image, origin top-left."""


@dataclass(frozen=True, slots=True)
class Detection:
    """Holds one detected object: the tag that was searched for, its box, and the detector's score (0 to 1).

    `phrase` holds the words of the prompt that scored above the text threshold; the detector may merge several tags
    into one phrase ("t shirt polo shirt").
    """

    label: str
    phrase: str
    box: Box
    score: float


DETECTION = pa.struct(
    [
        pa.field("label", pa.string(), nullable=False),
        pa.field("phrase", pa.string(), nullable=False),
        pa.field("x1", pa.float32(), nullable=False),
        pa.field("y1", pa.float32(), nullable=False),
        pa.field("x2", pa.float32(), nullable=False),
        pa.field("y2", pa.float32(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
    ]
)
"""The Arrow type of `Detection`."""

BOXES_COLUMN = pa.field("boxes", pa.list_(pa.field("item", DETECTION, nullable=False)))
"""The annotation column that the box engine fills: the objects of one image, highest score first."""


def detection_to_arrow(found: Detection) -> dict[str, object]:
    """Returns the dict that `pa.array(..., type=BOXES.type)` takes for one detection."""
    x1, y1, x2, y2 = found.box
    return {
        "label": found.label,
        "phrase": found.phrase,
        "x1": x1,
        "y1": y1,
        "x2": x2,
        "y2": y2,
        "score": found.score,
    }
