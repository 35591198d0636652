"""Rows that a passing fault of the network has cost are asked for again alone, and merged as if nothing had failed."""

from pathlib import Path

import pytest

from pipelines.download import part as download_part
from pipelines.download.run import download
from pipelines.recipes.download import DownloadRecipe, DownloadRun
from pipelines.retry.run import retry
from pipelines.verify.run import verify
from schemas.errors import UsageError
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from tests.pipelines.support.deaths import Deaths, bury, die_at_each_step
from tests.pipelines.support.metadata import StandIn, write_metadata
from tests.pipelines.support.retried import copy_set, read_attempts, read_set
from tests.support.s3.bucket import Bucket

ENDS = ["1.jpg", "http_503", "http_404", "2.jpg", "http_429", "5.jpg", "3.jpg", "4.jpg", "http_500", "6.jpg", "7.jpg"]
LOST = [end for end in ENDS if end.startswith("http_")]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """In the place of img2dataset: it fails with some addresses until it is mended."""
    made = StandIn(seed=3)
    monkeypatch.setattr(download_part, "download_images", made)
    monkeypatch.setattr("pipelines.img2dataset.placement.ensure_environment", lambda _: None)
    return made


def recipe_of(folder: Path, **options: object) -> DownloadRecipe:
    """Three parts of four rows, with faces in every second."""
    boxes = [[[0.1, 0.1, 0.5, 0.5]] if number % 2 else [] for number in range(len(ENDS))]
    addresses: list[str | None] = [f"https://a.example/{end}" for end in ENDS]
    path = write_metadata(folder / "a.parquet", [*addresses, None], face_bboxes=[*boxes, []])
    return DownloadRecipe(input=[path], urls_per_shard=4, run=DownloadRun(workers=1), **options)


def download_both(network: StandIn, recipe: DownloadRecipe, failed: str, whole: str) -> None:
    """A set from a network with faults, and one from a network without."""
    network.is_mended = False
    download(recipe, failed)
    network.is_mended = True
    download(recipe, whole)
    network.asked.clear()


def test_the_set_of_a_run_without_faults(network: StandIn, tmp_path: Path) -> None:
    recipe, failed, whole = recipe_of(tmp_path), str(tmp_path / "failed"), str(tmp_path / "whole")
    download_both(network, recipe, failed, whole)
    assert read_set(failed) != read_set(whole)
    totals = retry(recipe, failed)
    assert [url.rpartition("/")[2] for url in network.asked] == LOST
    assert (totals.rows_in, totals.rows_out, totals.reasons) == (12, 11, {"not_http": 1})
    assert read_set(failed) == read_set(whole)
    assert read_attempts(failed) == {"00000000": 2, "00000001": 2, "00000002": 2}
    assert verify(failed) == (3, [])


def test_one_reason(network: StandIn, tmp_path: Path) -> None:
    recipe, output = recipe_of(tmp_path), str(tmp_path / "out")
    download(recipe, output)
    network.asked.clear()
    network.is_mended = True
    totals = retry(recipe, output, "http_503")
    assert [url.rpartition("/")[2] for url in network.asked] == ["http_503"]
    assert totals.reasons == {"http_404": 1, "http_429": 1, "http_500": 1, "not_http": 1}
    assert read_attempts(output) == {"00000000": 2, "00000001": 1, "00000002": 1}
    assert verify(output) == (3, [])


def test_what_fails_again_stays_as_it_was(network: StandIn, tmp_path: Path) -> None:
    recipe, output = recipe_of(tmp_path), str(tmp_path / "out")
    download(recipe, output)
    before = read_set(output)
    for attempts in (2, 3):
        network.asked.clear()
        retry(recipe, output)
        assert len(network.asked) == len(LOST)
        assert read_set(output) == before
        assert set(read_attempts(output).values()) == {attempts}


def test_a_second_retry_has_nothing_to_do(network: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, output = recipe_of(tmp_path), str(tmp_path / "out")
    download(recipe, output)
    network.is_mended = True
    retry(recipe, output)
    before = Folder(output).list_sizes(), read_attempts(output)
    network.asked.clear()
    totals = retry(recipe, output)
    assert (network.asked, totals.is_unchanged) == ([], True)
    assert (Folder(output).list_sizes(), read_attempts(output)) == before
    assert f"{output}: nothing to retry (1 not_http)\n" in capsys.readouterr().err


def test_a_limit_is_kept(network: StandIn, tmp_path: Path) -> None:
    recipe, failed, whole = recipe_of(tmp_path, limit=6), str(tmp_path / "failed"), str(tmp_path / "whole")
    download_both(network, recipe, failed, whole)
    retry(recipe, failed)
    assert read_set(failed) == read_set(whole)
    assert read_manifests(Folder(failed))["00000001"].left_out == {"limit": 2}


def check_each_death(network: StandIn, monkeypatch: pytest.MonkeyPatch, recipe: DownloadRecipe, place: str) -> int:
    """Lets a retry die at each of its steps; the next one ends as a run without faults. No row is merged twice."""
    failed, whole, output = (f"{place}/{name}" for name in ("failed", "whole", "out"))
    download_both(network, recipe, failed, whole)
    expected = read_set(whole)
    deaths = Deaths(monkeypatch)

    def prepare() -> None:
        copy_set(failed, output)

    def work() -> None:
        bury(output)
        retry(recipe, output)

    def check_and_prepare() -> None:
        if Folder(output).exists("recipe.yaml"):
            assert read_set(output) == expected
            assert set(read_attempts(output).values()) == {2}
        prepare()

    steps = die_at_each_step(deaths, check_and_prepare, work)
    assert read_set(output) == expected
    return steps


def test_a_death_at_each_step(network: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert check_each_death(network, monkeypatch, recipe_of(tmp_path), str(tmp_path)) > 40


@pytest.mark.slow
def test_a_death_at_each_step_in_a_store(
    network: StandIn, monkeypatch: pytest.MonkeyPatch, bucket: Bucket, tmp_path: Path
) -> None:
    assert check_each_death(network, monkeypatch, recipe_of(tmp_path), bucket.url) > 40


def test_a_stopped_retry_is_resumed_for_its_reason_alone(network: StandIn, tmp_path: Path) -> None:
    recipe, output = recipe_of(tmp_path), str(tmp_path / "out")
    download(recipe, output)
    network.asked.clear()
    network.is_mended = True
    network.parts_left = 1
    with pytest.raises(KeyboardInterrupt):
        retry(recipe, output)
    network.parts_left = 1 << 62
    with pytest.raises(UsageError, match="a retry of all reasons is not finished: give the same command to finish it"):
        retry(recipe, output, "http_429")
    asked = len(network.asked)
    retry(recipe, output)
    assert len(network.asked) == len(LOST) > asked
    assert set(read_attempts(output).values()) == {2}


def test_what_is_refused(network: StandIn, tmp_path: Path) -> None:
    recipe, output = recipe_of(tmp_path), str(tmp_path / "out")
    network.parts_left = 2
    with pytest.raises(KeyboardInterrupt):
        download(recipe, output)
    with pytest.raises(UsageError, match=f"^{output} is not finished: the command that made it resumes it; retry it"):
        retry(recipe, output)
    assert len(Folder(output).list_files("manifests")) == 2
    network.parts_left = 1 << 62
    download(recipe, output, retry_failed=True)
    with pytest.raises(UsageError, match="has shards of --retry-failed"):
        retry(recipe, output)
    with pytest.raises(UsageError, match="holds another recipe"):
        retry(recipe_of(tmp_path, limit=3), output)
