"""Finds the rows of a batch of annotations that get no captions, and why."""

import pyarrow as pa
import pyarrow.compute as pc

from schemas.records.quarantine import Reason, Rejected

Faults = list[Rejected | None]
"""The fault of each row; None for a good one. A row keeps the first fault that is found."""


def find_engine_faults(table: pa.Table, engine: str) -> Faults:
    """Returns for each row why an engine's annotations are missing; None if they are there."""
    faults: Faults = [None] * table.num_rows
    for row in pc.indices_nonzero(pc.is_null(table[engine])).to_pylist():
        faults[row] = describe_failure(table, row, engine)
    return faults


def describe_failure(table: pa.Table, row: int, engine: str) -> Rejected:
    """Returns the fault of a row on which an engine failed, as the annotation set tells it."""
    for failure in reversed(table["failures"][row].as_py() if "failures" in table.column_names else []):
        if failure["engine"] == engine:
            return Rejected(Reason(failure["reason"]), f"{engine}: {failure['detail']}")
    return Rejected(Reason.ENGINE_ERROR, f"{engine}: the engine failed on this image")


def find_missing_urls(table: pa.Table) -> Faults:
    """Returns the faults of rows without a URL, for layouts that name images by theirs."""
    fault = Rejected(Reason.MISSING_URL, "its shard has no URL of the image, by which the layout names it")
    return [None if url else fault for url in table["url"].to_pylist()]


def add_fault(faults: Faults, rows: pa.BooleanArray, fault: Rejected) -> None:
    """Sets the fault of those of these rows that have none yet."""
    for row in pc.indices_nonzero(rows).to_pylist():
        faults[row] = faults[row] or fault


def add_faults(faults: Faults, others: Faults) -> None:
    """Sets the faults of the rows that have none yet."""
    for row, other in enumerate(others):
        faults[row] = faults[row] or other
