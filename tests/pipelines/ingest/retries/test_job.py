"""Units with rows that failed for a passing reason are made again, and replace their outputs as a whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.ingest import unit as ingest_unit
from pipelines.ingest.run import ingest
from pipelines.output.totals import Totals
from pipelines.recipes.ingest import IngestRecipe
from pipelines.retry.run import retry
from pipelines.verify.run import verify
from schemas.errors import UsageError
from schemas.records.quarantine import Reason, Rejected
from tests.pipelines.support.deaths import Deaths, die_at_each_step
from tests.pipelines.support.published import ALONE, ROWS, SETS
from tests.pipelines.support.retried import copy_set, read_attempts, read_set


@pytest.fixture(scope="module")
def store(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_shards(tmp_path_factory.mktemp("store"), shards=1, samples=ROWS)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The rows that are too slow, as on a busy machine."""
    keys: set[str] = set()
    read = ingest_unit.read_row

    def read_in_time(reader: Any, recipe: Any, item: Any, watch: Any) -> Any:
        if item.key in keys:
            return Rejected(Reason.TOO_SLOW, "300 s of CPU")
        return read(reader, recipe, item, watch)

    monkeypatch.setattr(ingest_unit, "read_row", read_in_time)
    return keys


def recipe_of(folder: Path, store: str, **options: Any) -> IngestRecipe:
    """Units of five rows, in shards of as many bytes as three of them have."""
    glob = SETS["obelics"](folder)
    values = {"samples_per_shard": 5, "bytes_per_shard": 15_000, "images": [store], "run": ALONE} | options
    return IngestRecipe(source="obelics", input=[glob], **values)


def make_both(slow: set[str], recipe: IngestRecipe, failed: str, whole: str) -> Totals:
    slow |= {"1", "2", "7"}
    totals = ingest(recipe, failed)
    slow.clear()
    ingest(recipe, whole)
    return totals


def test_the_set_of_a_run_without_faults(slow: set[str], store: str, tmp_path: Path) -> None:
    recipe, failed, whole = recipe_of(tmp_path, store), str(tmp_path / "failed"), str(tmp_path / "whole")
    assert make_both(slow, recipe, failed, whole).reasons == {"too_slow": 3}
    assert read_set(failed) != read_set(whole)
    totals = retry(recipe, failed, "too_slow")
    assert (totals.rows_in, totals.rows_out) == (ROWS, ROWS)
    assert read_set(failed) == read_set(whole)
    assert {name: attempts for name, attempts in read_attempts(failed).items() if name.startswith("00000002")} == {
        name: 1 for name in read_attempts(whole) if name.startswith("00000002")
    }
    assert verify(failed)[1] == []
    assert retry(recipe, failed).is_unchanged


def test_a_death_at_each_step(slow: set[str], store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe, failed, whole = recipe_of(tmp_path, store), str(tmp_path / "failed"), str(tmp_path / "whole")
    make_both(slow, recipe, failed, whole)
    output, expected = tmp_path / "out", read_set(whole)

    def check_and_prepare() -> None:
        if output.exists():
            assert read_set(str(output)) == expected
        copy_set(failed, str(output))

    assert die_at_each_step(Deaths(monkeypatch), check_and_prepare, lambda: retry(recipe, str(output))) > 30
    assert read_set(str(output)) == expected


def test_a_unit_with_fewer_outputs_than_before(slow: set[str], store: str, tmp_path: Path) -> None:
    """On a machine that is busier now, rows are too slow that were not: their shards go, with all their files."""
    recipe, output, known = recipe_of(tmp_path, store), str(tmp_path / "out"), str(tmp_path / "known")
    slow |= {"1"}
    ingest(recipe, output)
    before = len(read_attempts(output))
    slow |= {"0", "2", "3"}
    retry(recipe, output)
    ingest(recipe, known)
    assert len(read_attempts(output)) < before
    assert read_set(output) == read_set(known)
    assert verify(output)[1] == []


def test_a_retry_that_is_refused_leaves_nothing_to_finish(slow: set[str], store: str, tmp_path: Path) -> None:
    recipe, failed, whole = recipe_of(tmp_path, store), str(tmp_path / "failed"), str(tmp_path / "whole")
    make_both(slow, recipe, failed, whole)
    path = Path(recipe.input[0])
    data = path.read_bytes()
    pq.write_table(pq.read_table(path), path, row_group_size=5, compression="none")
    with pytest.raises(UsageError, match=r"^the input or its images have changed since .*: use a new output folder$"):
        retry(recipe, failed)
    path.write_bytes(data)
    retry(recipe, failed, "too_slow")
    assert read_set(failed) == read_set(whole)
