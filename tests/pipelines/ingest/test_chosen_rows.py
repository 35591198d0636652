"""An ingest of fewer rows has the keys and bytes of the whole one, and accounts for the rows that it leaves out."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.verify.run import verify
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.published import ROWS, SETS, take_in
from tests.pipelines.support.sets import rows


@pytest.fixture(scope="module")
def store(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_shards(tmp_path_factory.mktemp("store"), shards=1, samples=ROWS)


@pytest.mark.parametrize("source", ["obelics", "mint-pdf", "cc3m"])
def test_the_first_rows(source: str, store: str, tmp_path: Path) -> None:
    glob = SETS[source](tmp_path)
    take_in(source, glob, tmp_path / "all", store, format="parquet", samples_per_shard=5)
    totals = take_in(source, glob, tmp_path / "out", store, format="parquet", samples_per_shard=5, limit=7)
    assert (totals.rows_chosen, totals.rows_out, totals.quarantined) == (7, 7, 0)
    assert totals.left_out == {"limit": totals.rows_in - 7}
    assert totals.rows_in <= ROWS
    assert rows(tmp_path / "out") == rows(tmp_path / "all")[:7]
    assert verify(str(tmp_path / "out"))[1] == []


def test_a_sample_of_documents(store: str, tmp_path: Path) -> None:
    glob = SETS["obelics"](tmp_path)
    take_in("obelics", glob, tmp_path / "all", store, format="parquet", samples_per_shard=5)
    for name in ("one", "two"):
        totals = take_in("obelics", glob, tmp_path / name, store, format="parquet", samples_per_shard=5, sample=4)
        assert (totals.rows_chosen, totals.rows_out) == (4, 4)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    held = {row["key"]: row for row in rows(tmp_path / "all")}
    assert all(held[row["key"]] == row for row in rows(tmp_path / "one"))
    for manifest in read_manifests(Folder(str(tmp_path / "one"))).values():
        assert manifest.rows_in == manifest.rows_out + manifest.left_out["sample"]


def test_files_after_the_last_row_are_not_cut(store: str, tmp_path: Path) -> None:
    glob = SETS["cc3m"](tmp_path)
    path = Path(glob)
    (path.with_name("zz.tsv")).write_bytes(b"\x1f\x8b no text")
    totals = take_in("cc3m", f"{path.parent}/*.tsv", tmp_path / "out", store, limit=3)
    assert (totals.rows_chosen, totals.rows_out) == (3, 3)
