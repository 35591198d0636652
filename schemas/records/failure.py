"""Defines an engine's failure on an image that stays in the set because of what the other engines found."""

from typing import Any

import pyarrow as pa

from schemas.records.quarantine import Rejected

FAILURE = pa.struct(
    [
        pa.field("engine", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # a code of `schemas.records.quarantine.Reason`
        pa.field("detail", pa.string(), nullable=False),
    ]
)

FAILURES_COLUMN = pa.field("failures", pa.list_(pa.field("item", FAILURE, nullable=False)), nullable=False)
"""The column that lists failures; usually empty. An engine listed there has a null in its own column."""


def failure_to_arrow(engine: str, fault: Rejected) -> dict[str, Any]:
    """Returns the dict that `pa.array(..., type=FAILURES_COLUMN.type)` takes for one failure."""
    return {"engine": engine, "reason": fault.reason.value, "detail": fault.detail}
