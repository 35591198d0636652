"""Captions of several stages become one column in the recipe's order, and come back out of it."""

from typing import Any

import pyarrow as pa

from curation.engines.stages import get_stage_column
from pipelines.annotate.captions.columns import count_captions, count_tokens, join_captions, split_captions
from schemas.records.model_caption import CAPTIONS_COLUMN

STAGES = ["ocr", "captions.dense", "captions.short"]


def value(text: str, status: str = "ok", tokens: int | None = 3) -> dict[str, Any]:
    return {
        "text": text,
        "status": status,
        "finish_reason": "stop",
        "prompt_tokens": tokens,
        "completion_tokens": tokens,
    }


def make_table() -> pa.Table:
    """Three images: one with both captions, one without the second, one that is left out. The last stage ran first."""
    columns = {
        "captions.short": [value("s", "truncated"), None, None],
        "captions.dense": [value("d"), value("e", "refused", None), None],
    }
    table = pa.table({"reason": pa.array([None, None, "decode_error"], pa.string())})
    for stage, values in columns.items():
        field = get_stage_column(stage)
        table = table.append_column(field, pa.array(values, field.type))
    return table


ERROR = {"name": "short", "text": "", "status": "error"} | dict.fromkeys(
    ("finish_reason", "prompt_tokens", "completion_tokens")
)


def test_one_column_in_the_order_of_the_recipe() -> None:
    joined = join_captions(make_table(), STAGES)
    assert joined.schema.names == ["reason", "captions"]
    assert joined.schema.field("captions").type == CAPTIONS_COLUMN.type
    assert joined["captions"].to_pylist() == [
        [{"name": "dense"} | value("d"), {"name": "short"} | value("s", "truncated")],
        [{"name": "dense"} | value("e", "refused", None), ERROR],
        None,
    ]
    assert join_captions(joined, ["ocr"]) is joined


def test_a_later_run_gets_them_back() -> None:
    row = join_captions(make_table(), STAGES).to_pylist()[1] | {"ocr": [1]}
    assert split_captions(row, STAGES) == {
        "ocr": [1],
        "captions.dense": value("e", "refused", None),
        "captions.short": None,
    }
    assert split_captions(row, ["captions.short"]) == {"captions.short": None}


def test_tokens_and_outcomes_are_counted() -> None:
    table = make_table()
    assert count_tokens(table, ("captions.dense", "captions.short")) == 12
    assert count_tokens(table, ("captions.dense",)) == 6
    assert count_tokens(table, ()) == 0
    assert count_captions(join_captions(table, STAGES)) == {
        "captions": 4,
        "captions_truncated": 1,
        "captions_refused": 1,
        "captions_error": 1,
        "prompt_tokens": 6,
        "completion_tokens": 6,
    }
