"""Shows tags: those that the alt text mentions, as spans in it, and those that an engine saw in the picture."""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.view.charts import draw_bars, draw_histogram
from pipelines.view.columns.declaration import ColumnView, Row, Shapes
from pipelines.view.page import Block, Chart, Chip, Chips
from schemas.records.box import BOXES_COLUMN
from schemas.records.tag import TAGS_COLUMN

NAME = TAGS_COLUMN.name


def describe(row: Row, shapes: Shapes) -> list[Block]:
    """Returns the tags, each tied to the boxes with its label."""
    boxes = shapes.get(BOXES_COLUMN.name, ())
    chips = [
        Chip(
            tag["name"],
            "mentioned" if tag["source"] == "caption" else f"{tag['score']:.2f}",
            tuple(box.number for box in boxes if box.label == tag["name"]),
        )
        for tag in row[NAME] or ()
    ]
    return [Chips("Tags", tuple(dict.fromkeys(chips)))] if chips else []


def chart(rows: pa.Table) -> list[Chart]:
    """Returns the most frequent tags, and the scores of those seen in pictures."""
    tags = rows[NAME].combine_chunks().flatten()
    seen = tags.filter(pc.equal(pc.struct_field(tags, "source"), "image"))
    scores = pc.struct_field(seen, "score").to_pylist()
    charts: list[Chart] = [draw_histogram("Scores of tags seen in pictures", scores, 0, 1)] if scores else []
    return [*charts, *draw_bars("Tags", Counter(pc.struct_field(tags, "name").to_pylist()))]


VIEW = ColumnView(column=NAME, order=3, describe=describe, chart=chart)
