"""Defines a line of text that an OCR engine found."""

from dataclasses import dataclass

import pyarrow as pa

from schemas.records.box import Box

Polygon = tuple[float, float, float, float, float, float, float, float]
"""Four corners as x, y, clockwise from the top-left of the text, normalised as `Box` is."""


@dataclass(frozen=True, slots=True)
class TextLine:
    """Holds one line of text: its text, its place, and the engine's confidence (0 to 1)."""

    text: str
    polygon: Polygon
    box: Box
    confidence: float


TEXT_LINE = pa.struct(
    [
        pa.field("text", pa.string(), nullable=False),
        pa.field("polygon", pa.list_(pa.float32(), 8), nullable=False),
        pa.field("x1", pa.float32(), nullable=False),
        pa.field("y1", pa.float32(), nullable=False),
        pa.field("x2", pa.float32(), nullable=False),
        pa.field("y2", pa.float32(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
    ]
)
"""The Arrow type of `TextLine`."""

OCR_COLUMN = pa.field("ocr", pa.list_(pa.field("item", TEXT_LINE, nullable=False)))
"""The annotation column that the OCR engine fills: the lines of one image, in reading order."""


def line_to_arrow(line: TextLine) -> dict[str, object]:
    """Returns the dict that `pa.array(..., type=OCR.type)` takes for one line."""
    x1, y1, x2, y2 = line.box
    return {
        "text": line.text,
        "polygon": line.polygon,
        "x1": x1,
        "y1": y1,
        "x2": x2,
        "y2": y2,
        "confidence": line.confidence,
    }
