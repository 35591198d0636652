"""Shows detected objects: their boxes, and how sure the detector was."""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.view.charts import draw_bars, draw_counts, draw_histogram
from pipelines.view.columns.declaration import ColumnView, Row, Shapes
from pipelines.view.page import Block, Chart, Chip, Chips, Shape
from schemas.records.box import BOXES_COLUMN

NAME = BOXES_COLUMN.name


def draw(items: Sequence[Row]) -> list[Shape]:
    """Returns the box of each object."""
    return [
        Shape(
            0,
            NAME,
            outline(item["x1"], item["y1"], item["x2"], item["y2"]),
            item["label"],
            item["score"],
            is_labelled=True,
        )
        for item in items
    ]


def outline(x1: float, y1: float, x2: float, y2: float) -> tuple[float, ...]:
    """Returns the corners of a box, clockwise."""
    return (x1, y1, x2, y1, x2, y2, x1, y2)


def describe(row: Row, shapes: Shapes) -> list[Block]:
    """Returns the objects, highest score first, each with the detector's own words if they differ."""
    chips = [
        Chip(
            item["label"] if item["phrase"] == item["label"] else f"{item['label']} ({item['phrase']})",
            f"{item['score']:.2f}",
            (shape.number,),
        )
        for item, shape in zip(row[NAME] or (), shapes[NAME], strict=True)
    ]
    return [Chips("Boxes", tuple(chips))] if chips else []


def chart(rows: pa.Table) -> list[Chart]:
    """Returns the scores, the number of boxes of an image, and the most frequent labels."""
    boxes = rows[NAME].combine_chunks()
    found = boxes.flatten()
    labels = Counter(pc.struct_field(found, "label").to_pylist())
    return [
        draw_histogram("Scores of boxes", pc.struct_field(found, "score").to_pylist(), 0, 1),
        *draw_counts("Boxes of an image", pc.list_value_length(boxes).drop_null().to_pylist()),
        *draw_bars("Labels of boxes", labels),
    ]


VIEW = ColumnView(column=NAME, order=2, draw=draw, describe=describe, chart=chart, family="grounding")
