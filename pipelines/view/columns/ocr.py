"""Shows lines of text: their outlines, and how sure the recogniser was."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.view.charts import draw_counts, draw_histogram
from pipelines.view.columns.declaration import ColumnView, Row, Shapes
from pipelines.view.page import Block, Chart, Chip, Chips, Shape
from schemas.records.text_line import OCR_COLUMN

NAME = OCR_COLUMN.name


def draw(items: Sequence[Row]) -> list[Shape]:
    """Returns the outline of each line."""
    return [Shape(0, NAME, tuple(item["polygon"]), item["text"], item["confidence"]) for item in items]


def describe(_: Row, shapes: Shapes) -> list[Block]:
    """Returns the lines in reading order, each with the recogniser's confidence."""
    lines = [
        Chip(shape.label, f"{shape.score:.2f}", (shape.number,)) for shape in shapes[NAME] if shape.score is not None
    ]
    return [Chips("Text lines", tuple(lines))] if lines else []


def chart(rows: pa.Table) -> list[Chart]:
    """Returns the confidences, and the number of lines of an image."""
    lines = rows[NAME].combine_chunks()
    confidences = pc.struct_field(lines.flatten(), "confidence").to_pylist()
    return [
        draw_histogram("Confidence of text lines", confidences, 0, 1),
        *draw_counts("Text lines of an image", pc.list_value_length(lines).drop_null().to_pylist()),
    ]


VIEW = ColumnView(column=NAME, order=1, draw=draw, describe=describe, chart=chart, family="ocr")
