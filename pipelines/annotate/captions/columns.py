"""Joins the columns of the caption stages into the one column of a set, and splits that again for a later run.

While a chunk goes from pool to pool, each caption is in a column of its own, named by its stage. The set has them in
the recipe's order, whatever the order of the pools and whatever was reused.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from curation.engines.stages import StageName, get_caption_name
from schemas.records.model_caption import CAPTIONS_COLUMN, name_caption


def join_captions(table: pa.Table, stages: Sequence[StageName]) -> pa.Table:
    """Replaces the columns of captions by one; a row that is left out has a null there."""
    named = {stage: name for stage in stages if (name := get_caption_name(stage)) is not None}
    if not named:
        return table
    columns = [table[stage].to_pylist() for stage in named]
    rows = [
        [name_caption(name, value) for name, value in zip(named.values(), values, strict=True)]
        for values in zip(*columns, strict=True)
    ]
    kept = [row if reason is None else None for row, reason in zip(rows, table["reason"].to_pylist(), strict=True)]
    return table.drop_columns(list(named)).append_column(CAPTIONS_COLUMN, pa.array(kept, CAPTIONS_COLUMN.type))


def split_captions(row: dict[str, Any], stages: Sequence[StageName]) -> dict[str, Any]:
    """Returns the values of these stages in a row of a set, with captions by their stages; None where one failed."""
    captions = {caption["name"]: caption for caption in row.get(CAPTIONS_COLUMN.name) or ()}
    values: dict[str, Any] = {}
    for stage in stages:
        name = get_caption_name(stage)
        if name is None:
            values[stage] = row[stage]
        else:
            found = captions.get(name, {"status": "error"})
            values[stage] = None if found["status"] == "error" else {key: found[key] for key in found if key != "name"}
    return values


def count_tokens(table: pa.Table, stages: Sequence[StageName]) -> int:
    """Returns the tokens of prompts and texts that these caption stages have used for a chunk."""
    values = [value for stage in stages for value in table[stage].to_pylist() if value is not None]
    return sum((value["prompt_tokens"] or 0) + (value["completion_tokens"] or 0) for value in values)


def count_captions(table: pa.Table) -> dict[str, int]:
    """Returns the counts of a manifest: captions, those that did not end well, and their tokens."""
    found = [caption for row in table[CAPTIONS_COLUMN.name].to_pylist() for caption in row or ()]
    statuses = Counter(caption["status"] for caption in found)
    counts = {"captions": len(found)} | {
        f"captions_{name}": statuses[name] for name in ("truncated", "refused", "error")
    }
    return counts | {
        name: sum(caption[name] or 0 for caption in found) for name in ("prompt_tokens", "completion_tokens")
    }
