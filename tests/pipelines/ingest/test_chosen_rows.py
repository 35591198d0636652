"""An ingest of fewer rows has the keys and bytes of the whole one, and accounts for the rows that it leaves out."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.output.totals import DamagedInput
from pipelines.verify.run import verify
from schemas.errors import UsageError
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.published import ALONE, ROWS, SETS, take_in
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


def test_an_input_that_has_grown(store: str, tmp_path: Path) -> None:
    """A limit goes on to the new rows; a sample would have had other rows of those that are committed."""
    first = Path(SETS["obelics"](tmp_path))
    glob, options = f"{tmp_path}/*.parquet", {"format": "parquet", "samples_per_shard": 5}
    take_in("obelics", glob, tmp_path / "limit", store, limit=20, **options)
    take_in("obelics", glob, tmp_path / "sample", store, sample=8, **options)
    before = hashes(tmp_path / "sample")
    shutil.copy(first, tmp_path / "b.parquet")
    totals = take_in("obelics", glob, tmp_path / "limit", store, limit=20, **options)
    assert (totals.rows_chosen, totals.rows_out) == (20, 20)
    take_in("obelics", glob, tmp_path / "whole", store, limit=20, **options)
    assert hashes(tmp_path / "limit") == hashes(tmp_path / "whole")
    with pytest.raises(UsageError) as error:
        take_in("obelics", glob, tmp_path / "sample", store, sample=8, **options)
    assert str(error.value) == (
        f"the input, of which sample chooses rows, has changed since {tmp_path}/sample/data/00000001 was committed: "
        "use a new output folder"
    )
    assert hashes(tmp_path / "sample") == before


def test_a_unit_that_was_cut_short_is_made_again(store: str, tmp_path: Path) -> None:
    """Its first output is committed last, so that the others alone are no other choice."""
    glob, options = SETS["obelics"](tmp_path), {"samples_per_shard": 12, "bytes_per_shard": 15_000, "limit": 10}
    take_in("obelics", glob, tmp_path / "out", store, **options)
    before = hashes(tmp_path / "out")
    assert len(read_manifests(Folder(str(tmp_path / "out")))) > 2
    (tmp_path / "out/manifests/00000000.json").unlink()
    take_in("obelics", glob, tmp_path / "out", store, **options)
    assert hashes(tmp_path / "out") == before


@pytest.mark.parametrize("options", [{"limit": 20}, {"sample": 12}])
def test_a_tar_that_cannot_be_read_is_reported(tmp_path: Path, options: dict[str, int]) -> None:
    """It has no row that may be chosen, but it may have been meant to have some."""
    path = Path(SETS["datacomp"](tmp_path))
    path.with_name("00001.tar").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DamagedInput, match=r"^1 shards are damaged \(00000001: 00001\.tar: .*: compressed by gzip"):
        take_in("datacomp", f"{tmp_path}/*.tar", tmp_path / "out", **options)
    found = read_manifests(Folder(str(tmp_path / "out")))
    assert {name: (one.rows_in, one.rows_out) for name, one in found.items()} == {
        "00000000": (12, 12),
        "00000001": (0, 0),
    }
    with pytest.raises(DamagedInput, match=r"^1 shards are damaged "):
        take_in("datacomp", f"{tmp_path}/00001.tar", tmp_path / "alone", **options)
    run = ALONE.model_copy(update={"allow_damaged": True})
    assert take_in("datacomp", f"{tmp_path}/*.tar", tmp_path / "out", run=run, **options).is_unchanged
    assert verify(str(tmp_path / "out")) == (2, [])
