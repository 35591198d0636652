"""Holds a pool's outcome for each sample of a chunk and adds the outcomes to the chunk's table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.engines.kinds import KINDS
from curation.images.decode import RgbImage
from pipelines.annotate.chunks import VERDICT_COLUMNS
from schemas.records.failure import FAILURES_COLUMN, failure_to_arrow
from schemas.records.quarantine import Reason, Rejected

PIXELS = pa.field("pixels", pa.large_binary())
"""The column that carries a decoded image from pool to pool: height x width x 3 bytes, RGB, row by row."""

SIZE_COLUMNS = [pa.field("width", pa.int32(), nullable=False), pa.field("height", pa.int32(), nullable=False)]


@dataclass(slots=True)
class Outcome:
    """Holds the outcome of one sample in one pool."""

    pixels: RgbImage | None = None
    width: int = 0
    height: int = 0
    value: Any = None  # in the engine's column
    fault: Rejected | None = None  # the reason to leave the sample out
    stage: str = ""  # that found the fault
    failure: Rejected | None = None  # of the engine only: the sample stays


def with_decoded(table: pa.Table, outcomes: Sequence[Outcome], keep_pixels: bool) -> pa.Table:
    """Replaces the bytes of the image files by sizes and, with `keep_pixels`, by pixels. Takes the outcomes' pixels."""
    sizes = [[outcome.width for outcome in outcomes], [outcome.height for outcome in outcomes]]
    for field, values in zip(SIZE_COLUMNS, sizes, strict=True):
        table = table.append_column(field, pa.array(values, field.type))
    if keep_pixels:
        table = table.append_column(PIXELS, pa.array(map(_take_pixels, outcomes), PIXELS.type))
    return table.drop_columns(["image"])


def _take_pixels(outcome: Outcome) -> bytes | None:
    """Returns the pixels as bytes and drops the array, so that memory holds a chunk once and not twice."""
    pixels, outcome.pixels = outcome.pixels, None
    return None if pixels is None else pixels.tobytes()


def with_values(
    table: pa.Table, outcomes: Sequence[Outcome], engine: str, column: pa.Field, stages: Sequence[str] = tuple(KINDS)
) -> pa.Table:
    """Adds an engine's column to the table, and its failures if there are any, in the order of the recipe's stages."""
    table = table.append_column(column, pa.array([outcome.value for outcome in outcomes], column.type))
    if all(outcome.failure is None for outcome in outcomes):
        return table
    failures = table[FAILURES_COLUMN.name].to_pylist()
    for held, outcome in zip(failures, outcomes, strict=True):
        if outcome.failure is not None:
            held.append(failure_to_arrow(engine, outcome.failure))
            held.sort(key=lambda failure: stages.index(failure["engine"]))  # independent of the pools' order
    place = table.column_names.index(FAILURES_COLUMN.name)
    return table.set_column(place, FAILURES_COLUMN, pa.array(failures, FAILURES_COLUMN.type))


def with_verdicts(table: pa.Table, outcomes: Sequence[Outcome]) -> pa.Table:
    """Adds the verdicts on samples that are left out to the table, if there are any."""
    if all(outcome.fault is None for outcome in outcomes):
        return table
    verdicts = table.select([field.name for field in VERDICT_COLUMNS]).to_pylist()
    for verdict, outcome in zip(verdicts, outcomes, strict=True):
        if outcome.fault is not None:
            verdict |= {"stage": outcome.stage, "reason": outcome.fault.reason.value, "detail": outcome.fault.detail}
    columns = pa.Table.from_pylist(verdicts, schema=pa.schema(VERDICT_COLUMNS))
    for field in VERDICT_COLUMNS:
        table = table.set_column(table.column_names.index(field.name), field, columns[field.name])
    return table


def count_rows_by_reason(table: pa.Table) -> dict[str, int]:
    """Returns how many rows of a finished chunk are left out, by reason."""
    return dict(Counter(filter(None, table["reason"].to_pylist())))


def count_errors_by_engine(table: pa.Table) -> dict[str, int]:
    """Returns how many images of a finished chunk each engine failed on, apart from deaths of workers."""
    errors = Counter(
        failure["engine"]
        for failures in table[FAILURES_COLUMN.name].to_pylist()
        for failure in failures
        if failure["reason"] == Reason.ENGINE_ERROR
    )
    for stage, reason in zip(table["stage"].to_pylist(), table["reason"].to_pylist(), strict=True):
        if reason == Reason.ENGINE_ERROR:
            errors[stage] += 1
    return dict(errors)
