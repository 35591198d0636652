"""A box in an image, and a thing that a detector found in one."""

from dataclasses import dataclass

import pyarrow as pa

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 (top-left, bottom-right), normalised to [0, 1] of the decoded image, origin top-left."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing: the tag it was found for, where it is, and how sure the detector is (0 to 1).

    `phrase` is what the detector's own words are, those of its prompt above the text threshold; several tags may run
    into one there ("t shirt polo shirt").
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
"""The Arrow form of `Detection`."""

BOXES = pa.field("boxes", pa.list_(pa.field("item", DETECTION, nullable=False)))
"""The annotation column that the box engine fills: the things in one image, the surest first."""


def detection_to_arrow(found: Detection) -> dict[str, object]:
    """The dict that `pa.array(..., type=BOXES.type)` takes for one thing."""
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
