"""Reads a ground truth and draws it over the pictures of an annotation set, as `evaluate` compares the two."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.evaluate.run import find_uids, read_truth_file
from pipelines.view.columns.declaration import Shapes
from pipelines.view.page import Block, Chip, Chips, Shape, make_text, number_shapes
from pipelines.view.truth.boxes import compare_boxes
from pipelines.view.truth.comparison import FALSE_ALARM, LAYER, Comparison
from pipelines.view.truth.lines import compare_lines
from schemas.errors import UsageError
from schemas.records.box import BOXES_COLUMN
from schemas.records.ground_truth import BoxTruth, TextTruth, read_box_truth, read_text_truth
from schemas.records.text_line import OCR_COLUMN

Row = Mapping[str, Any]

_COLOURS = {"found": "supported", "missed": "contradicted", FALSE_ALARM: "contradicted"}


@dataclass(frozen=True, slots=True)
class Overlay:
    """Holds the shapes of a row with those of the truth, and what is said of them beside the picture."""

    shapes: Shapes
    blocks: tuple[Block, ...] = ()
    outcomes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """Holds the entries of a truth by the column that they are compared with, and by the uids of their images."""

    path: str
    entries: Mapping[str, Mapping[str, BoxTruth | TextTruth]]

    @classmethod
    def read(cls, path: str, index: str | None) -> "GroundTruth":
        """Reads a truth of boxes, of text, or of both. Raises `UsageError` for a file that is none."""
        data = read_truth_file(path)
        keys, found = _read_first_keys(data), dict[str, Mapping[str, BoxTruth | TextTruth]]()
        if "items" in keys:
            found[OCR_COLUMN.name] = _tie(read_text_truth(data, path), path, index)
        if "items" not in keys or keys & {"objects", "image_labels"}:
            boxed = [entry for entry in read_box_truth(data, path) if entry.has_boxes]
            found[BOXES_COLUMN.name] = _tie(boxed, path, index)
        if not any(found.values()):
            raise UsageError(f"{path}: none of its images has a uid: pass --index, which has them")
        return cls(path, found)

    def filter(self, rows: pa.Table) -> pa.Table:
        """Returns the rows that the truth has an entry of. Raises `UsageError` if they lack the columns to compare."""
        columns = self.entries.keys() & set(rows.schema.names)
        if not columns:
            raise UsageError(f"--truth {self.path} is of {' and '.join(self.entries)}, which the set has not")
        uids = {uid for column in columns for uid in self.entries[column]}
        return rows.filter(pc.is_in(rows["uid"], pa.array(sorted(uids), pa.string())))

    def compare(self, row: Row, shapes: Shapes) -> Overlay:
        """Returns the shapes of a row with those of its entries, numbered behind them."""
        overlay = Overlay({**shapes, LAYER: ()})
        for column, entries in self.entries.items():
            if column in row and (entry := entries.get(row["uid"])) is not None:
                overlay = _add_entry(overlay, row, column, entry)
        return overlay


def _add_entry(overlay: Overlay, row: Row, column: str, entry: BoxTruth | TextTruth) -> Overlay:
    if not entry.has_shape_of(row["width"], row["height"]):
        said = make_text("Ground truth", f"it is of a picture of {entry.width} x {entry.height} pixels")
        return replace(overlay, blocks=(*overlay.blocks, said))
    items = row[column] or ()
    found = compare_boxes(entry, items) if isinstance(entry, BoxTruth) else compare_lines(entry, items)
    truth = number_shapes(found.shapes, sum(map(len, overlay.shapes.values())))
    marked = [
        replace(shape, status=FALSE_ALARM) if number in found.false_alarms else shape
        for number, shape in enumerate(overlay.shapes[column])
    ]
    return Overlay(
        {**overlay.shapes, column: marked, LAYER: (*overlay.shapes[LAYER], *truth)},
        (*overlay.blocks, *_describe_items(column, found, truth, marked)),
        overlay.outcomes
        + Counter(f"{column}: {outcome}" for outcome in found.outcomes)
        + Counter({f"{column}: false alarms": len(found.false_alarms)}),
    )


def _tie(entries: Sequence[BoxTruth | TextTruth], path: str, index: str | None) -> dict[str, BoxTruth | TextTruth]:
    uids = find_uids(entries, path, index)
    return {uid: entry for entry in entries for uid in uids[entry.file]}


def keep_all(rows: pa.Table) -> pa.Table:
    """Returns all rows, where there is no truth."""
    return rows


def get_row_filter(truth: GroundTruth | None) -> Callable[[pa.Table], pa.Table]:
    """Returns what chooses the rows that a page may show."""
    return keep_all if truth is None else truth.filter


def _describe_items(column: str, found: Comparison, truth: Sequence[Shape], marked: Sequence[Shape]) -> list[Block]:
    """Returns the items of the truth with their outcomes, and what is not in it, each tied to its shape."""
    numbers = {position: shape.number for position, shape in zip(found.drawn, truth, strict=True)}
    items = [
        Chip(name, note or outcome, (numbers[at],) if at in numbers else (), _COLOURS.get(outcome, ""))
        for at, (name, outcome, note) in enumerate(zip(found.names, found.outcomes, found.notes, strict=True))
    ]
    alarms = [
        Chip(marked[at].label, note, (marked[at].number,), _COLOURS[FALSE_ALARM])
        for at, note in sorted(found.false_alarms.items())
    ]
    parts = ((f"Ground truth of {column}", items), (f"{column}, not in the ground truth", alarms))
    return [Chips(title, tuple(chips)) for title, chips in parts if chips]


def _read_first_keys(data: bytes) -> set[str]:
    """Returns the keys of a truth's first entry; none if it is damaged, which its reader reports."""
    try:
        first = json.loads(next((line for line in data.split(b"\n") if line.strip()), b"{}"))
    except (ValueError, RecursionError):
        return set()
    return set(first) if isinstance(first, dict) else set()
