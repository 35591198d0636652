"""What a pool makes of each sample of a chunk, and the chunk's table with that added."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pyarrow as pa

from curation.images.decode import RgbImage
from pipelines.annotate.chunks import VERDICT_COLUMNS
from pipelines.recipes.annotate import EngineKind
from schemas.records.failure import FAILURES, failure_to_arrow
from schemas.records.quarantine import Reason, Rejected

ENGINE_KINDS = get_args(EngineKind)
PIXELS = pa.field("pixels", pa.large_binary())
"""Height x width x 3 bytes of a decoded image, on its way from pool to pool."""

SIZES = [pa.field("width", pa.int32(), nullable=False), pa.field("height", pa.int32(), nullable=False)]


@dataclass(slots=True)
class Outcome:
    """What became of one sample in one pool."""

    pixels: RgbImage | None = None
    width: int = 0
    height: int = 0
    value: list[Any] | None = None  # of the engine's column
    fault: Rejected | None = None  # for which the sample is left out
    stage: str = ""  # where it was found
    failure: Rejected | None = None  # of the engine alone: the sample stays


def with_decoded(table: pa.Table, outcomes: Sequence[Outcome], keep_pixels: bool) -> pa.Table:
    """Sizes, and pixels if a later pool needs them, in place of the files' bytes."""
    sizes = [[outcome.width for outcome in outcomes], [outcome.height for outcome in outcomes]]
    for field, values in zip(SIZES, sizes, strict=True):
        table = table.append_column(field, pa.array(values, field.type))
    if keep_pixels:
        table = table.append_column(PIXELS, pa.array(map(_taken, outcomes), PIXELS.type))
    return table.drop_columns(["image"])


def _taken(outcome: Outcome) -> bytes | None:
    """The pixels as bytes; the array is let go, so that a chunk is held once and not twice."""
    pixels, outcome.pixels = outcome.pixels, None
    return None if pixels is None else pixels.tobytes()


def with_values(table: pa.Table, outcomes: Sequence[Outcome], engine: str, column: pa.Field) -> pa.Table:
    """The table with an engine's column, and with its failures if there are any."""
    table = table.append_column(column, pa.array([outcome.value for outcome in outcomes], column.type))
    if all(outcome.failure is None for outcome in outcomes):
        return table
    failures = table[FAILURES.name].to_pylist()
    for held, outcome in zip(failures, outcomes, strict=True):
        if outcome.failure is not None:
            held.append(failure_to_arrow(engine, outcome.failure))
            held.sort(key=lambda failure: ENGINE_KINDS.index(failure["engine"]))  # whichever pool came first
    place = table.column_names.index(FAILURES.name)
    return table.set_column(place, FAILURES, pa.array(failures, FAILURES.type))


def with_verdicts(table: pa.Table, outcomes: Sequence[Outcome]) -> pa.Table:
    """The table with the verdicts on samples that are left out, if there are any."""
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


def rows_by_reason(table: pa.Table) -> dict[str, int]:
    """Rows of a finished chunk that are left out."""
    return dict(Counter(filter(None, table["reason"].to_pylist())))


def errors_by_engine(table: pa.Table) -> dict[str, int]:
    """Images of a finished chunk that engines failed on, for whatever reason but the death of a worker."""
    errors = Counter(
        failure["engine"]
        for failures in table[FAILURES.name].to_pylist()
        for failure in failures
        if failure["reason"] == Reason.ENGINE_ERROR
    )
    for stage, reason in zip(table["stage"].to_pylist(), table["reason"].to_pylist(), strict=True):
        if reason == Reason.ENGINE_ERROR:
            errors[stage] += 1
    return dict(errors)
