"""The least score of the top fraction is the one that sorting all scores would give."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.inputs.shards import list_input_shards
from pipelines.recipes.select import SelectRecipe, SelectRun
from pipelines.select.threshold import find_threshold, from_ordered_bits, to_ordered_bits
from schemas.errors import UsageError
from schemas.storage.folder import Folder
from tests.pipelines.support.contexts import context_of
from tests.pipelines.support.selections import top_threshold

FLOATS = st.floats(width=32, allow_nan=False)


def threshold_of(folder: Path, files: list[list[float | None]], fraction: float, kind: Any = None) -> float:
    for number, scores in enumerate(files):
        table = pa.table({"clip_b32_similarity_score": pa.array(scores, kind or pa.float32())})
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=3)
    recipe = SelectRecipe(
        input=[f"{folder}/*.parquet"],
        rules={"top_fraction": fraction, "top_by": "clip_b32"},
        run=SelectRun(workers=1),
    )
    found = find_threshold(
        recipe, list_input_shards(recipe.input, ".parquet"), fraction, context_of(Folder(str(folder)), recipe.run)
    )
    assert (found.column, found.fraction) == ("clip_b32_similarity_score", fraction)
    return found.value


@given(st.lists(FLOATS, min_size=2))
def test_bits_are_in_the_order_of_the_numbers(values: list[float]) -> None:
    scores = np.array(values, np.float32)
    bits = to_ordered_bits(scores)
    assert scores[np.argsort(bits, kind="stable")].tolist() == np.sort(scores).tolist()
    assert [from_ordered_bits(int(number)) for number in bits] == values


@given(
    files=st.lists(st.lists(st.one_of(st.sampled_from([-0.0, 0.0, 0.25, 0.3]), FLOATS)), min_size=1, max_size=3),
    fraction=st.sampled_from([1e-9, 0.1, 0.3, 0.5, 0.99, 1.0]),
)
def test_as_datacomp_takes_it(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[float]], fraction: float
) -> None:
    scores = [float(np.float32(score)) for scores in files for score in scores]
    folder = tmp_path_factory.mktemp("scores")
    if not scores:
        with pytest.raises(UsageError, match="no row of the input has a clip_b32_similarity_score: leave out"):
            threshold_of(folder, files, fraction)
        return
    assert threshold_of(folder, files, fraction) == top_threshold(scores, fraction)


def test_progress_counts_each_reading_of_a_file(tmp_path: Path, shown: list[str]) -> None:
    pq.write_table(pa.table({"clip_l14_similarity_score": [0.5]}), tmp_path / "a.parquet")
    recipe = SelectRecipe(input=[f"{tmp_path}/*.parquet"], run=SelectRun(workers=1))
    find_threshold(
        recipe,
        list_input_shards(recipe.input, ".parquet"),
        0.5,
        context_of(Folder(str(tmp_path)), recipe.run),
    )
    first, second = shown
    assert first.startswith("score threshold: 50%, 1 files read, ")
    assert second.startswith("score threshold: 100%, 2 files read, ")


def test_rows_without_a_score_do_not_count(tmp_path: Path) -> None:
    assert threshold_of(tmp_path, [[0.5, None, math.nan, 0.25], [None, 0.125]], 0.5) == 0.25


@pytest.mark.parametrize("kind", [pa.float16(), pa.float64(), pa.int32()])
def test_other_numbers_are_scores_as_well(tmp_path: Path, kind: pa.DataType) -> None:
    scores = np.array([0, 1, 2, 3, 4]).astype(kind.to_pandas_dtype())
    assert threshold_of(tmp_path, [list(scores)], 0.4, kind) == 2.0
