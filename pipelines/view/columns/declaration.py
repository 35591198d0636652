"""Defines how the view of an annotation column is declared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.view.page import Block, Chart, Shape

Row = Mapping[str, Any]
"""A row of an annotation set."""

Shapes = Mapping[str, Sequence[Shape]]
"""The shapes of a picture by their column, in the order of its items."""


def draw_nothing(_: Sequence[Row]) -> list[Shape]:
    """Returns no shapes, for a column without places."""
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnView:
    """Declares how a column is shown.

    `draw` returns a shape for each item of a row, not numbered yet, or none at all; `describe` the blocks beside the
    picture; `chart` the charts of a table of rows that have the column.
    """

    column: str
    order: int
    describe: Callable[[Row, Shapes], list[Block]]
    draw: Callable[[Sequence[Row]], list[Shape]] = draw_nothing
    chart: Callable[[pa.Table], list[Chart]]
    family: str | None = None  # the caption family that is rendered from the column
