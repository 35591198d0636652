"""Training shards of fewer images: the first, a sample, or those that meet a condition, each accounted for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.verify.run import verify
from schemas.errors import UsageError
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.sets import annotation_set, caption_set, in_process, join, rows


@pytest.fixture(scope="module")
def made(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Three tars of twenty images and their captions: every fifth image has none."""
    folder = tmp_path_factory.mktemp("made")
    images = make_shards(folder / "images", shards=3, samples=20)
    return images, caption_set(annotation_set(images, folder / "annotations"), folder / "captions")


def source_keys(output: Path) -> list[str]:
    """Where the samples of a set in Parquet are from."""
    return [row["source_key"] for row in rows(output)]


def accounts(output: Path) -> list[tuple[int, int, int, dict[str, int]]]:
    """Rows in, out, quarantined and left out, by output."""
    assert verify(str(output))[1] == []
    found = read_manifests(Folder(str(output))).values()
    return [(one.rows_in, one.rows_out, sum(one.reasons.values()), one.left_out) for one in found]


def test_the_first_images(made: tuple[str, Path], tmp_path: Path) -> None:
    images, captions = made
    join(images, captions, tmp_path / "all", format="parquet")
    totals = join(images, captions, tmp_path / "out", format="parquet", limit=30)
    assert (totals.rows_in, totals.rows_out, totals.quarantined, totals.left_out) == (40, 24, 6, {"limit": 10})
    assert source_keys(tmp_path / "out") == source_keys(tmp_path / "all")[:24]
    assert accounts(tmp_path / "out") == [(12, 9, 3, {"limit": 0}), (11, 9, 2, {"limit": 0}), (17, 6, 1, {"limit": 10})]


def test_tars_after_the_last_image_are_not_opened(made: tuple[str, Path], tmp_path: Path) -> None:
    """The third tar is no tar at all."""
    images, captions = made
    folder = tmp_path / "images"
    folder.mkdir()
    for path in Path(images).parent.glob("0000000[01].tar"):
        (folder / path.name).symlink_to(path)
    (folder / "00000002.tar").write_bytes(b"")
    totals = join(f"{folder}/*.tar", captions, tmp_path / "out", limit=20)
    assert (totals.rows_in, totals.rows_out, totals.damaged) == (20, 16, {})


def test_a_sample(made: tuple[str, Path], tmp_path: Path) -> None:
    images, captions = made
    for name in ("one", "two"):
        totals = join(images, captions, tmp_path / name, format="parquet", sample=10, seed=5)
        assert (totals.rows_chosen, totals.rows_in) == (10, totals.left_out["sample"] + 10)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    join(images, captions, tmp_path / "other", format="parquet", sample=10, seed=6)
    assert source_keys(tmp_path / "other") != source_keys(tmp_path / "one")


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_a_condition(made: tuple[str, Path], tmp_path: Path, form: str) -> None:
    """Of the images with captions those are left out that do not meet it; the others stay quarantined."""
    images, captions = made
    condition = "source_key LIKE '%3' AND width = 64 AND source_shard <> '00000001'"
    totals = join(images, captions, tmp_path / "out", format=form, where=condition)
    assert (totals.rows_in, totals.rows_out, totals.quarantined) == (60, 4, 12)
    assert totals.left_out == {"where": 44}
    assert verify(str(tmp_path / "out"))[1] == []
    if form == "parquet":
        assert source_keys(tmp_path / "out") == [f"{number:012d}" for number in (3, 13, 20003, 20013)]


def test_a_condition_is_checked_before_work(made: tuple[str, Path], tmp_path: Path) -> None:
    images, captions = made
    with pytest.raises(UsageError, match=r"^--where: there is no column 'image': the columns are text, uid, url, "):
        join(images, captions, tmp_path / "out", where="image IS NULL")
    assert not (tmp_path / "out").exists()


def test_a_condition_that_holds_for_none_is_told_from_missing_captions(made: tuple[str, Path], tmp_path: Path) -> None:
    images, captions = made
    done = in_process(
        *("shard", "--images", images, "--captions", captions, "--output", tmp_path / "out"),
        *("--workers", "1", "--where", "width > 64"),
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"error: {tmp_path}/out: none of 12 rows came out (12 no_caption; 48 more left out by where): see quarantine/ "
        "there for the details of each"
    )
