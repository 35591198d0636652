"""Rows that a passing fault of the network has cost are asked for again alone, and merged as if nothing had failed."""

from collections.abc import Callable
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
OF_ROUNDS = ["00000000", "00000000-r1", "00000001", "00000001-r1", "00000001-r2", "00000002", "00000002-r1"]
"""The outputs of two rounds of `--retry-failed`, of which the second has one row to ask for."""


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


def download_in_rounds(network: StandIn, recipe: DownloadRecipe, failed: str, whole: str) -> None:
    """The same, where rounds of `--retry-failed` have got three of the four images by then."""
    download_both(network, recipe, failed, whole)
    network.is_mended = False
    for mended in ({"http_503", "http_500"}, {"http_429"}):
        network.mended = mended
        download(recipe, failed, retry_failed=True)
    assert sorted(read_manifests(Folder(failed))) == OF_ROUNDS
    network.is_mended = True
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


def check_each_death(
    network: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    recipe: DownloadRecipe,
    place: str,
    make: Callable[[StandIn, DownloadRecipe, str, str], None] = download_both,
) -> int:
    """Lets a retry die at each of its steps; the next one ends as a run without faults. No row is merged twice."""
    failed, whole, output = (f"{place}/{name}" for name in ("failed", "whole", "out"))
    make(network, recipe, failed, whole)
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


def test_a_death_at_each_step_with_shards_of_rounds(
    network: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert check_each_death(network, monkeypatch, recipe_of(tmp_path), str(tmp_path), download_in_rounds) > 50


def test_a_download_after_a_dead_retry(network: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It leaves a sound set, whatever the retry had replaced, and no file of what is gone."""
    recipe, failed, output = recipe_of(tmp_path), str(tmp_path / "failed"), str(tmp_path / "out")
    download_in_rounds(network, recipe, failed, str(tmp_path / "whole"))
    deaths, last, died = Deaths(monkeypatch), 0, True
    while died:
        copy_set(failed, output)
        bury(output)
        died = deaths.run_until(last, lambda: retry(recipe, output))
        bury(output)
        totals = download(recipe, output)
        assert (totals.rows_in, totals.rows_out >= 10) == (12, True)
        assert verify(output)[1] == []
        last += 2
    assert last > 50


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
    download(recipe, output)
    with pytest.raises(UsageError, match="holds another recipe"):
        retry(recipe_of(tmp_path, limit=3), output)


def test_shards_of_earlier_rounds_become_one_again(network: StandIn, tmp_path: Path) -> None:
    """What `--retry-failed` has added is merged too, in parts without a row to retry as well."""
    recipe, failed, whole = recipe_of(tmp_path), str(tmp_path / "failed"), str(tmp_path / "whole")
    download_in_rounds(network, recipe, failed, whole)
    totals = retry(recipe, failed)
    assert [url.rpartition("/")[2] for url in network.asked] == ["http_404"]
    assert (totals.rows_in, totals.rows_out, totals.reasons) == (12, 11, {"not_http": 1})
    assert read_set(failed) == read_set(whole)
    assert read_attempts(failed) == {"00000000": 2, "00000001": 2, "00000002": 2}
    assert verify(failed) == (3, [])


def test_rows_that_may_not_be_asked_for(network: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Their fault is in the metadata, and some name no address at all."""
    addresses = [
        "https://a.example/1.jpg",
        "https://a.example/http_503",
        "https://a.example/2.jpg",
        "file:///etc/passwd",
    ]
    path = write_metadata(tmp_path / "a.parquet", list(addresses), text=[b"one", b"two", b"\xff", b"four"])
    recipe, output = DownloadRecipe(input=[path], run=DownloadRun(workers=1)), str(tmp_path / "out")
    assert download(recipe, output).reasons == {"http_503": 1, "not_http": 1, "not_text": 1}
    before = read_set(output)
    network.asked.clear()
    for reason in ("not_http", "not_text", "not_http_at_all"):
        assert retry(recipe, output, reason).is_unchanged
        assert f"nothing to retry for {reason} (1 http_503, 1 not_http, 1 not_text)\n" in capsys.readouterr().err
    assert (network.asked, read_set(output)) == ([], before)
    network.is_mended = True
    assert retry(recipe, output).reasons == {"not_http": 1, "not_text": 1}
    assert network.asked == ["https://a.example/http_503"]
    assert verify(output) == (1, [])


@pytest.mark.usefixtures("network")
def test_what_was_counted_twice_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, output = recipe_of(tmp_path), str(tmp_path / "out")
    download(recipe, output)
    download(recipe, output, retry_failed=True)
    retry(recipe, output, "timed_out")
    said = "nothing to retry for timed_out (1 http_503, 1 http_404, 1 http_429, 1 http_500, 1 not_http)\n"
    assert capsys.readouterr().err.endswith(said)


def test_a_retry_that_is_refused_leaves_nothing_to_finish(network: StandIn, tmp_path: Path) -> None:
    recipe, output = recipe_of(tmp_path), str(tmp_path / "out")
    download(recipe, output)
    (path,), network.is_mended = recipe.input, True
    data = Path(path).read_bytes()
    write_metadata(Path(path), ["https://a.example/1.jpg"])
    with pytest.raises(UsageError, match=r"^the metadata has changed since .*: use a new output folder$"):
        retry(recipe, output)
    Path(path).unlink()
    with pytest.raises(UsageError, match=r"^no file matches "):
        retry(recipe, output)
    Path(path).write_bytes(data)
    assert retry(recipe, output, "http_429").reasons == {"http_404": 1, "http_500": 1, "http_503": 1, "not_http": 1}
    assert verify(output) == (3, [])
