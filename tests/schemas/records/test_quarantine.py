"""Tests of the rows that a command leaves out."""

import pyarrow as pa

from schemas.records.failure import FAILURES_COLUMN, failure_to_arrow
from schemas.records.quarantine import (
    QUARANTINE_SCHEMA,
    QuarantinedRow,
    Reason,
    Rejected,
    make_quarantine_table,
)


def test_a_stored_detail_holds_no_secret() -> None:
    fault = Rejected(Reason.LOST_IMAGE, "no image http://user:hunter2@host/a.jpg?sig=x of \ud83d")
    found = QuarantinedRow.from_rejected("k", "u", "ingest", fault)
    assert found == QuarantinedRow("k", "u", "ingest", "lost_image", "no image http://***@host/a.jpg?*** of ?")


def test_rows_are_stored_in_the_published_columns() -> None:
    row = {"key": "k", "uid": None, "stage": "ingest", "reason": "too_small", "detail": "8 x 8"}
    table = make_quarantine_table(iter([QuarantinedRow(**row)]))
    assert table.schema == QUARANTINE_SCHEMA
    assert table.to_pylist() == [row]


def test_a_failure_is_stored_beside_what_other_engines_found() -> None:
    fault = failure_to_arrow("tags", Rejected(Reason.ENGINE_ERROR, "out of memory"))
    assert fault == {"engine": "tags", "reason": "engine_error", "detail": "out of memory"}
    assert pa.array([[fault]], FAILURES_COLUMN.type).to_pylist() == [[fault]]
