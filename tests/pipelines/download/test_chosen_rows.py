"""A download of fewer rows asks for their addresses alone, and gives them the keys of the whole one."""

from pathlib import Path

import polars as pl
import pytest

from pipelines.download import part as download_part
from pipelines.download.run import TooFewImagesError, download
from pipelines.recipes.download import DownloadRecipe, DownloadRun
from pipelines.verify.run import verify
from schemas.errors import UsageError
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from tests.pipelines.support.metadata import StandIn, write_metadata


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """In the place of img2dataset, and of its environment."""
    made = StandIn()
    monkeypatch.setattr(download_part, "download_images", made)
    monkeypatch.setattr("pipelines.img2dataset.placement.ensure_environment", lambda _: None)
    return made


def recipe_of(folder: Path, count: int = 10, **options: object) -> DownloadRecipe:
    """Parts of four rows, of which the fourth has no image."""
    ends = [f"https://a.example/{'http_404' if number % 4 == 3 else f'{number}.jpg'}" for number in range(count)]
    path = write_metadata(folder / "a.parquet", list(ends))
    values = {"input": [path], "urls_per_shard": 4, "run": DownloadRun(workers=1)} | options
    return DownloadRecipe.model_validate(values)


def test_the_first_rows(stand_in: StandIn, tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    totals = download(recipe_of(tmp_path, limit=6), output)
    assert [url.rpartition("/")[2] for url in stand_in.asked] == [
        "0.jpg",
        "1.jpg",
        "2.jpg",
        "http_404",
        "4.jpg",
        "5.jpg",
    ]
    assert (totals.rows_in, totals.rows_out, totals.reasons, totals.left_out) == (8, 5, {"http_404": 1}, {"limit": 2})
    assert verify(output) == (2, [])
    side = pl.read_parquet(tmp_path / "out/data/00000001.parquet")
    assert side["key"].to_list() == ["000000010", "000000011"]
    stand_in.is_mended = True
    again = download(recipe_of(tmp_path, limit=6), output, retry_all=True)
    assert (again.rows_in, again.rows_out, again.left_out) == (8, 6, {"limit": 2})
    assert len(stand_in.asked) == 7


def test_a_sample(stand_in: StandIn, tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    totals = download(recipe_of(tmp_path, sample=3, seed=1), output)
    assert (totals.rows_chosen, len(stand_in.asked)) == (3, 3)
    found = {name: made.left_out for name, made in read_manifests(Folder(output)).items()}
    assert totals.left_out["sample"] == sum(each["sample"] for each in found.values()) == totals.rows_in - 3


@pytest.mark.usefixtures("stand_in")
def test_the_share_of_successes_is_of_the_chosen_rows(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, limit=2)
    lenient = recipe.model_copy(update={"run": recipe.run.model_copy(update={"min_success": 1.0})})
    assert download(lenient, str(tmp_path / "out")).rows_out == 2
    strict = recipe_of(tmp_path, limit=4)
    strict = strict.model_copy(update={"run": strict.run.model_copy(update={"min_success": 0.8})})
    with pytest.raises(TooFewImagesError, match="only 3 of 4 images were downloaded"):
        download(strict, str(tmp_path / "other"))


def test_metadata_that_have_grown(stand_in: StandIn, tmp_path: Path) -> None:
    """A limit goes on to the new rows; a sample would have had other rows of those that are committed."""
    limit, sample = (
        recipe_of(tmp_path, input=[f"{tmp_path}/*.parquet"], **one) for one in ({"limit": 13}, {"sample": 7})
    )
    for name, recipe in ("limit", limit), ("sample", sample):
        download(recipe, str(tmp_path / name))
    write_metadata(tmp_path / "b.parquet", [f"https://b.example/{number}.jpg" for number in range(10)], first=10)
    stand_in.asked.clear()
    assert download(limit, str(tmp_path / "limit")).rows_chosen == 13
    assert stand_in.asked == [f"https://b.example/{number}.jpg" for number in range(3)]
    with pytest.raises(UsageError, match=r"^the input, of which sample chooses rows, has changed since "):
        download(sample, str(tmp_path / "sample"))
    retried = download(limit, str(tmp_path / "limit"), retry_all=True)
    assert (retried.rows_chosen, download(limit, str(tmp_path / "limit")).is_unchanged) == (13, True)
