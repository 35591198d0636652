"""Tests of how a pool adds what it found to a chunk's table."""

import pyarrow as pa

from pipelines.annotate.chunks import CHUNK_SCHEMA, VERDICT_COLUMNS
from pipelines.annotate.outcomes import Outcome, with_values, with_verdicts
from schemas.records.failure import FAILURES_COLUMN
from schemas.records.quarantine import Reason, Rejected
from schemas.records.tag import TAGS_COLUMN

READ = {"stage": "read", "reason": "missing_image", "detail": "members: json"}
TAG_FAILURE = {"engine": "tags", "reason": "engine_error", "detail": "ValueError: bad"}


def chunk(rows: int) -> pa.Table:
    row = {"caption": "", "sha256": "", "failures": []}
    return pa.Table.from_pylist([{"key": str(key)} | row for key in range(rows)], schema=CHUNK_SCHEMA)


def is_same(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    """Whether both are the same memory, and not a copy."""
    places = [[buffer and buffer.address for buffer in column.chunk(0).buffers()] for column in (one, other)]
    return places[0] == places[1]


def test_no_verdict_costs_nothing() -> None:
    table = chunk(2)
    assert with_verdicts(table, [Outcome(), Outcome()]) is table


def test_a_verdict_leaves_those_of_others() -> None:
    missing = Outcome(fault=Rejected(Reason.MISSING_IMAGE, "members: json"), stage="read")
    table = with_verdicts(chunk(3), [missing, Outcome(), Outcome()])
    fault = Rejected(Reason.TOO_SMALL, "1 x 1")
    found = with_verdicts(table, [Outcome(), Outcome(fault=fault, stage="decode"), Outcome()])
    names = [field.name for field in VERDICT_COLUMNS]
    assert found.select(names).to_pylist() == [
        READ,
        {"stage": "decode", "reason": "too_small", "detail": "1 x 1"},
        dict.fromkeys(names),
    ]
    assert found.schema == CHUNK_SCHEMA


def test_no_failure_leaves_the_column_as_it_is() -> None:
    table = chunk(2)
    found = with_values(table, [Outcome(value=[]), Outcome(value=[])], "tags", TAGS_COLUMN)
    assert is_same(found[FAILURES_COLUMN.name], table[FAILURES_COLUMN.name])
    assert found[TAGS_COLUMN.name].to_pylist() == [[], []]


def test_a_failure_stands_beside_the_others_in_the_engines_order() -> None:
    bad = Rejected(Reason.ENGINE_ERROR, "ValueError: bad")
    table = with_values(chunk(2), [Outcome(failure=bad), Outcome()], "tags", TAGS_COLUMN)
    column = pa.field("text_lines", pa.list_(pa.string()))
    found = with_values(table, [Outcome(failure=Rejected(Reason.ENGINE_ERROR, "x")), Outcome(value=[])], "ocr", column)
    ocr = {"engine": "ocr", "reason": "engine_error", "detail": "x"}
    assert found[FAILURES_COLUMN.name].to_pylist() == [[ocr, TAG_FAILURE], []]
    assert found.schema.field(FAILURES_COLUMN.name) == FAILURES_COLUMN


def test_failures_are_in_the_order_of_the_stages() -> None:
    """That of the recipe for captions, whichever ran first."""
    table, bad = chunk(1), Rejected(Reason.ENGINE_ERROR, "x")
    stages = ["tags", "captions.short", "captions.dense"]
    for stage in ("captions.dense", "captions.short", "tags"):
        table = with_values(table, [Outcome(failure=bad)], stage, pa.field(stage, pa.int32()), stages)
    assert [failure["engine"] for failure in table["failures"][0].as_py()] == stages
