"""Reads a ground truth and draws it over the pictures of an annotation set, as `evaluate` compares the two."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
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
    """Holds the entries of a truth by the uids of their images."""

    path: str
    column: str  # that it is compared with
    entries: Mapping[str, BoxTruth | TextTruth]

    @classmethod
    def read(cls, path: str, index: str | None) -> "GroundTruth":
        """Reads a truth of boxes or of text. Raises `UsageError` for a file that is neither."""
        data = read_truth_file(path)
        is_text = "items" in _read_first_keys(data)
        entries = read_text_truth(data, path) if is_text else read_box_truth(data, path)
        uids = find_uids(entries, path, index)
        by_uid = {uid: entry for entry in entries for uid in uids[entry.file]}
        if not by_uid:
            raise UsageError(f"{path}: none of its {len(entries)} images has a uid: pass --index, which has them")
        return cls(path, (OCR_COLUMN if is_text else BOXES_COLUMN).name, by_uid)

    def filter(self, rows: pa.Table) -> pa.Table:
        """Returns the rows that the truth has an entry of. Raises `UsageError` if they lack the column to compare."""
        if self.column not in rows.schema.names:
            raise UsageError(f"--truth {self.path} is of {self.column}, which the set has not: annotate it first")
        return rows.filter(pc.is_in(rows["uid"], pa.array(list(self.entries), pa.string())))

    def compare(self, row: Row, shapes: Shapes) -> Overlay:
        """Returns the shapes of a row with those of its entry, numbered behind them."""
        entry = self.entries[row["uid"]]
        if not entry.has_shape_of(row["width"], row["height"]):
            said = make_text("Ground truth", f"it is of a picture of {entry.width} x {entry.height} pixels")
            return Overlay(shapes, (said,))
        items = row[self.column] or ()
        found = compare_boxes(entry, items) if isinstance(entry, BoxTruth) else compare_lines(entry, items)
        truth = number_shapes(found.shapes, sum(map(len, shapes.values())))
        marked = [
            replace(shape, status=FALSE_ALARM) if number in found.false_alarms else shape
            for number, shape in enumerate(shapes[self.column])
        ]
        outcomes = Counter(found.outcomes) + Counter({"false alarms": len(found.false_alarms)})
        blocks = _describe_items(found, truth, marked)
        return Overlay({**shapes, self.column: marked, LAYER: truth}, tuple(blocks), outcomes)


def keep_all(rows: pa.Table) -> pa.Table:
    """Returns all rows, where there is no truth."""
    return rows


def get_row_filter(truth: GroundTruth | None) -> Callable[[pa.Table], pa.Table]:
    """Returns what chooses the rows that a page may show."""
    return keep_all if truth is None else truth.filter


def _describe_items(found: Comparison, truth: tuple[Shape, ...], marked: list[Shape]) -> list[Block]:
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
    return [Chips(title, tuple(chips)) for title, chips in (("Ground truth", items), ("Not in it", alarms)) if chips]


def _read_first_keys(data: bytes) -> Mapping[str, Any]:
    """Returns the first entry of a truth; an empty one if it is damaged, which its reader reports."""
    try:
        first = json.loads(next((line for line in data.split(b"\n") if line.strip()), b"{}"))
    except (ValueError, RecursionError):
        return {}
    return first if isinstance(first, dict) else {}
