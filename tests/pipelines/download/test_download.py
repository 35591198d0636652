"""What was downloaded is committed once, in one order, under keys of its own; what failed is asked for again, alone.

img2dataset is stood in for: `test_web.py` runs it.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.selection.rules import SelectionRules
from pipelines.cli.app import main
from pipelines.download import part as download_part
from pipelines.download.run import ProgressPoller, download
from pipelines.img2dataset.process import _salvage
from pipelines.inputs.shards import find_missing_downloads
from pipelines.output.totals import Totals
from pipelines.recipes.base import load_recipe
from pipelines.recipes.download import DownloadRecipe, DownloadRun
from pipelines.recipes.rows import ChosenRows
from pipelines.recipes.select import SelectRecipe
from pipelines.select.run import select
from pipelines.stats.run import collect_stats
from pipelines.terminal.progress import Progress
from pipelines.verify.run import verify
from schemas.errors import ShardloomError, UsageError
from schemas.layouts.datacomp import read_sample
from schemas.output_set.recipe_file import read_recipe
from schemas.storage.folder import Folder
from schemas.tar.reader import TarReader
from tests.conftest import REPOSITORY, jpeg
from tests.pipelines.support.drivers import hashes, wait_until
from tests.pipelines.support.metadata import StandIn, uid_of, write_metadata
from tests.support.s3.bucket import Bucket

Ask = Callable[..., Totals]


def recipe_of(*inputs: str, each: int = 4, **options: Any) -> DownloadRecipe:
    """A recipe with small parts."""
    return DownloadRecipe(input=list(inputs), urls_per_shard=each, run=DownloadRun(workers=1), **options)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """In the place of img2dataset, and of its environment."""
    made = StandIn()
    monkeypatch.setattr(download_part, "download_images", made)
    monkeypatch.setattr("pipelines.img2dataset.placement.ensure_environment", lambda _: None)
    return made


def urls(*ends: str) -> list[str | None]:
    """Addresses that come to such ends."""
    return [f"https://host{number % 3}.example/{end}" for number, end in enumerate(ends)]


def samples(output: Path, name: str) -> list[tuple[str, str, bytes]]:
    """Key, caption and file of each image of a shard."""
    with (output / f"data/{name}.tar").open("rb") as file:
        reader = TarReader(file)
        found = [read_sample(sample) for sample in reader]
    assert reader.damage == []
    return [(sample.key, sample.caption, sample.image.data) for sample in found]


def left_out(output: Path, name: str) -> list[tuple[str, str, str]]:
    """Key, reason and detail of each row of a shard that is not in it."""
    rows = pl.read_parquet(output / f"quarantine/{name}.parquet")
    assert set(rows["stage"]) <= {"download"}
    return list(zip(rows["key"], rows["reason"], rows["detail"], strict=True))


@pytest.mark.usefixtures("stand_in")
def test_a_part_becomes_a_shard_as_img2dataset_has_it(tmp_path: Path) -> None:
    ends = ["3.jpg", "http_404", "page", "5.jpg", "skipped", "7.jpg"]
    boxes = [[[0.1, 0.1, 0.5, 0.5]], [], [], [], [], []]
    path = write_metadata(tmp_path / "a.parquet", urls(*ends), face_bboxes=boxes)
    output = tmp_path / "out"
    totals = download(recipe_of(path), str(output))
    assert (totals.outputs, totals.rows_in, totals.rows_out) == (2, 6, 3)
    assert totals.reasons == {"http_404": 1, "not_an_image": 1, "not_written": 1}
    assert totals.counts == {"blurred_images": 1}
    assert sorted(path.name for path in (output / "data").iterdir()) == [
        f"{number:08d}{ending}" for number in range(2) for ending in (".parquet", ".tar", "_stats.json")
    ]
    assert samples(output, "00000000") == [
        ("000000000", "caption of 0", jpeg(3)),
        ("000000003", "caption of 3", jpeg(5)),
    ]
    assert samples(output, "00000001") == [("000000011", "caption of 5", jpeg(7))]
    assert left_out(output, "00000000") == [
        ("000000001", "http_404", "https://host1.example/http_404: HTTP Error 404: No"),
        ("000000002", "not_an_image", "https://host2.example/page: Image decoding error"),
    ]
    side = pl.read_parquet(output / "data/00000000.parquet")
    assert side.columns == [
        *("uid", "face_bboxes", "caption", "url", "key", "status", "error_message"),
        *("width", "height", "original_width", "original_height", "exif", "sha256"),
    ]
    assert side["uid"].to_list() == [uid_of(number) for number in range(4)]
    assert side["face_bboxes"].to_list() == boxes[:4]
    assert side["status"].to_list() == ["success", "failed_to_download", "failed_to_resize", "success"]
    assert side["width"].to_list() == [64, None, None, 64]
    with (output / "data/00000000.tar").open("rb") as file:
        details = json.loads(next(iter(TarReader(file))).members["json"].data)
    assert list(details) == side.columns
    assert details["key"] == "000000000"
    assert json.loads((output / "data/00000000_stats.json").read_bytes()) == {
        "count": 4,
        "successes": 2,
        "failed_to_download": 1,
        "failed_to_resize": 1,
        "status_dict": {"success": 2, "HTTP Error 404: No": 1, "Image decoding error": 1},
    }
    assert verify(str(output)) == (2, [])
    for name in ("00000000", "00000001"):
        assert find_missing_downloads(Folder(f"{output}/data"), name, [key for key, *_ in samples(output, name)]) == []
    assert len(find_missing_downloads(Folder(f"{output}/data"), "00000000", ["000000000"])) == 1


@pytest.mark.usefixtures("stand_in")
def test_keys_of_datacomp_have_twelve_digits(tmp_path: Path) -> None:
    path = write_metadata(tmp_path / "a.parquet", urls("3.jpg"))
    download(recipe_of(path, each=10_000), str(tmp_path / "out"))
    assert [key for key, *_ in samples(tmp_path / "out", "00000000")] == ["000000000000"]


@pytest.mark.usefixtures("stand_in")
def test_equal_answers_give_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_metadata(tmp_path / "a.parquet", urls(*(f"{number}.jpg" for number in range(9)), "http_500"))
    download(recipe_of(path), str(tmp_path / "one"))
    monkeypatch.setattr(download_part, "download_images", StandIn(seed=1))
    download(recipe_of(path), str(tmp_path / "two"))
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_rows_that_are_not_asked_for_are_accounted_for(stand_in: StandIn, tmp_path: Path) -> None:
    """Of a file with nothing else, img2dataset is not even started."""
    boxes = [[], [], [[1.0, 0.0]], []]
    addresses = ["https://a.example/1.jpg", None, "https://a.example/2.jpg", "ftp://a.example/3.jpg"]
    path = write_metadata(tmp_path / "a.parquet", addresses, face_bboxes=boxes)
    other = write_metadata(tmp_path / "b.parquet", [None, "file:///etc/passwd"])
    output = tmp_path / "out"
    totals = download(recipe_of(path, other), str(output))
    assert (totals.rows_in, totals.rows_out) == (6, 1)
    assert totals.reasons == {"not_http": 4, "malformed_row": 1}
    assert stand_in.asked == ["https://a.example/1.jpg"]
    assert [key for key, *_ in samples(output, "00000000")] == ["000000000"]
    assert samples(output, "00000001") == []
    assert left_out(output, "00000000")[0][:2] == ("000000001", "not_http")
    assert verify(str(output)) == (2, [])
    download(recipe_of(path, other), str(output), retry_all=True)
    assert len(stand_in.asked) == 1


@pytest.mark.usefixtures("stand_in")
def test_one_row_that_is_no_text_costs_no_neighbour(tmp_path: Path) -> None:
    broken = pa.array([b"https://a.example/1.jpg", b"\xff\xfe", b"https://a.example/2.jpg"]).cast(pa.binary())
    column = pa.StringArray.from_buffers(3, broken.buffers()[1], broken.buffers()[2])
    pq.write_table(pa.table({"url": column}), tmp_path / "a.parquet")
    output = tmp_path / "out"
    totals = download(recipe_of(str(tmp_path / "a.parquet")), str(output))
    assert (totals.rows_out, totals.reasons) == (2, {"malformed_row": 1})
    assert samples(output, "00000000") == [("000000000", "", jpeg(1)), ("000000002", "", jpeg(2))]
    assert "face_bboxes" not in pl.read_parquet(output / "data/00000000.parquet").columns


def test_faces_are_left_alone_and_hashes_checked_when_told(stand_in: StandIn, tmp_path: Path) -> None:
    path = write_metadata(tmp_path / "a.parquet", urls("3.jpg"), face_bboxes=[[[0.1, 0.1, 0.5, 0.5]]])
    download(recipe_of(path), str(tmp_path / "one"))
    totals = download(recipe_of(path, blur_faces=False, verify_hash=True), str(tmp_path / "two"))
    assert totals.counts == {"blurred_images": 0}
    assert [sorted(more) for more in stand_in.arguments] == [
        ["bbox_col", "caption_col", "save_additional_columns"],
        ["caption_col", "save_additional_columns", "verify_hash"],
    ]


ROUND = ["1.jpg", "http_503", "http_404", "2.jpg", "http_429", "page", "3.jpg", "4.jpg", "http_500", "skipped"]


def test_what_failed_is_asked_for_again_alone(stand_in: StandIn, tmp_path: Path) -> None:
    addresses = urls(*ROUND)
    recipe = recipe_of(write_metadata(tmp_path / "a.parquet", addresses))
    output = tmp_path / "out"
    first = download(recipe, str(output))
    assert (first.rows_in, first.rows_out, first.quarantined) == (10, 4, 6)
    before = hashes(output)
    del before["README.md"]  # whose counts change

    def again(**how: bool) -> tuple[list[str], int, dict[str, int]]:
        stand_in.asked.clear()
        totals = download(recipe, str(output), **how)
        assert (totals.rows_in, totals.rows_out + totals.quarantined) == (10, 10)
        assert verify(str(output))[1] == []
        return [url.rpartition("/")[2] for url in stand_in.asked], totals.rows_out, dict(totals.reasons)

    assert again()[0] == []
    still = {"http_404": 1, "not_an_image": 1, "not_written": 1}
    ills = {"http_429": 1, "http_500": 1, "http_503": 1}
    assert again(retry_failed=True) == (["http_503", "http_429", "http_500"], 4, still | ills)
    assert samples(output, "00000000-r1") == []
    assert hashes(output).items() >= before.items()
    stand_in.is_mended = True
    assert again(retry_failed=True) == (["http_503", "http_429", "http_500"], 7, still)
    assert [key for key, *_ in samples(output, "00000001-r2")] == ["000000010"]
    assert again(retry_failed=True) == ([], 7, still)
    assert again(retry_all=True) == (["http_404", "page", "skipped"], 10, {})
    assert again(retry_all=True) == ([], 10, {})
    names = sorted(path.stem for path in (output / "data").glob("*.tar"))
    assert names == ["00000000", "00000000-r1", "00000000-r2", "00000000-r3"] + [
        name
        for part in (1, 2)
        for name in (f"0000000{part}", f"0000000{part}-r1", f"0000000{part}-r2", f"0000000{part}-r3")
    ]
    keys = [key for name in names for key, *_ in samples(output, name)]
    assert sorted(keys) == [f"{part:08d}{row}" for part, rows in ((0, 4), (1, 4), (2, 2)) for row in range(rows)]
    assert hashes(output).items() >= before.items()
    found = collect_stats(str(output))
    assert (found["rows_in"], found["rows_out"], found["reasons"]) == (10, 10, {})


def test_a_round_that_was_stopped_is_gone_on_with(stand_in: StandIn, tmp_path: Path) -> None:
    """Of three parts with one failure each, it asks for one, then for the two others, then for none a second time."""
    ends = ["http_503", "1.jpg", "2.jpg", "3.jpg"] * 3
    recipe = recipe_of(write_metadata(tmp_path / "a.parquet", urls(*ends)))
    output = tmp_path / "out"
    stand_in.parts_left = 2
    with pytest.raises(KeyboardInterrupt):
        download(recipe, str(output))
    assert verify(str(output)) == (2, [f"{output}/parts: the run is not finished; the same command resumes it"])
    stand_in.parts_left = 2  # the third part, and the first of the round
    with pytest.raises(KeyboardInterrupt):
        download(recipe, str(output), retry_failed=True)
    assert len(stand_in.asked) == 3 * 4 + 1
    assert len(verify(str(output))[1]) == 1
    stand_in.parts_left = 1 << 62
    totals = download(recipe, str(output))  # without the flag nothing is asked, and the round stays open
    assert (len(stand_in.asked), totals.rows_in, totals.rows_out, len(verify(str(output))[1])) == (13, 12, 9, 1)
    download(recipe, str(output), retry_failed=True)
    assert len(stand_in.asked) == 15
    assert sorted(path.stem for path in (output / "data").glob("*-r*.tar")) == [
        f"0000000{part}-r1" for part in range(3)
    ]
    assert verify(str(output)) == (6, [])
    totals = download(recipe, str(output), retry_failed=True)
    assert (len(stand_in.asked), totals.reasons) == (18, {"http_503": 3})


@pytest.mark.usefixtures("stand_in")
def test_a_run_that_was_killed_after_its_last_commit_is_finished_by_the_next(tmp_path: Path) -> None:
    path, output = write_metadata(tmp_path / "a.parquet", urls("1.jpg", "http_503")), tmp_path / "out"
    download(recipe_of(path), str(output))
    (output / "parts").mkdir()
    (output / "parts/unfinished").touch()
    assert verify(str(output)) == (1, [f"{output}/parts: the run is not finished; the same command resumes it"])
    assert download(recipe_of(path), str(output)).rows_in == 2
    assert verify(str(output)) == (1, [])


@pytest.mark.usefixtures("stand_in")
def test_without_a_network_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(StandIn):
        def __call__(self, folder: Path, *arguments: Any) -> dict[str, Path]:
            made = super().__call__(folder, *arguments)
            side = pl.read_parquet(made[".parquet"])
            message = pl.lit("<urlopen error [Errno -3] Temporary failure in name resolution>")
            side.with_columns(error_message=message).write_parquet(made[".parquet"])
            return made

    path = write_metadata(tmp_path / "a.parquet", urls(*["http_503"] * 250))
    monkeypatch.setattr(download_part, "download_images", Silent())
    with pytest.raises(ShardloomError, match=r"^.*a\.parquet#rows=0-100: none of 100 URLs got a response \(unkno"):
        download(recipe_of(path, each=100), str(tmp_path / "out"))
    assert not (tmp_path / "out/manifests").exists()
    small = download(recipe_of(path, each=99), str(tmp_path / "small"))
    assert small.reasons == {"unknown_host": 250}


def test_of_a_part_whose_time_is_over_the_images_so_far_are_kept(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """img2dataset is killed: its tar ends anywhere, its table isn't there."""

    def killed(folder: Path, *arguments: Any) -> dict[str, Path]:
        made = stand_in(folder, *arguments)
        (folder / "images").mkdir()
        made[".parquet"].unlink()
        made[".tar"].rename(folder / "images/00000.tar")
        os.truncate(folder / "images/00000.tar", 9 * 512 + 100)  # inside the second image
        _salvage(folder)
        return {ending: folder / f"images/00000000{ending}" for ending in made}

    monkeypatch.setattr(download_part, "download_images", killed)
    recipe = recipe_of(write_metadata(tmp_path / "a.parquet", urls("1.jpg", "2.jpg", "3.jpg")))
    output = tmp_path / "out"
    totals = download(recipe, str(output))
    assert (totals.rows_out, totals.reasons) == (1, {"deadline": 2})
    [(key, caption, image)] = samples(output, "00000000")
    number = int(key)
    assert (caption, image) == (f"caption of {number}", jpeg(number + 1))
    monkeypatch.setattr(download_part, "download_images", stand_in)
    assert download(recipe, str(output), retry_failed=True).rows_out == 3
    again = [(key, image) for key, _, image in samples(output, "00000000-r1")]
    assert again == [(f"{row:09d}", jpeg(row + 1)) for row in range(3) if row != number]


def test_metadata_and_shards_may_lie_in_a_store(stand_in: StandIn, bucket: Bucket, tmp_path: Path) -> None:
    """The same bytes come of it, recipe apart."""
    path = write_metadata(tmp_path / "a.parquet", urls(*ROUND))
    Folder(bucket.url).write("metadata/a.parquet", Path(path).read_bytes())
    for inputs, output in ((path, f"{tmp_path}/out"), (f"{bucket.url}/metadata/*.parquet", f"{bucket.url}/out")):
        stand_in.is_mended = False
        download(recipe_of(inputs), output)
        stand_in.is_mended = True
        totals = download(recipe_of(inputs), output, retry_failed=True)
        assert (totals.rows_in, totals.rows_out) == (10, 7)
        assert verify(output) == (6, [])
    here, there = Folder(f"{tmp_path}/out/data"), Folder(f"{bucket.url}/out/data")
    assert len(here.list_files()) == 6 * 3
    assert {name: here.read(name) for name in here.list_files()} == {
        name: there.read(name) for name in there.list_files()
    }


def test_progress_is_seen_within_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.download.run.POLL_SECONDS", 0.01)
    for part, said in (("a-1", "30"), ("b-2", "12"), ("c-3", ""), ("d-4", "x")):
        (tmp_path / "parts" / part).mkdir(parents=True)
        (tmp_path / "parts" / part / "asked").write_text(said)
    with Progress("download", 200, "addresses") as progress:
        with ProgressPoller(progress, Folder(str(tmp_path))) as tally:
            wait_until(lambda: progress.done == 42)
            tally.committed = 150
            wait_until(lambda: progress.done == 192)
            tally.committed = 190
            wait_until(lambda: progress.done == 200)
        assert progress.items == 200


def test_a_selection_is_downloaded(stand_in: StandIn, tmp_path: Path) -> None:
    boxes = [[[0.1, 0.1, 0.5, 0.5]], [], []]
    path = write_metadata(
        tmp_path / "a.parquet",
        urls("1.jpg", "2.jpg", "3.jpg"),
        face_bboxes=boxes,
        original_width=[640, 64, 640],
        original_height=[480, 48, 480],
    )
    other = write_metadata(tmp_path / "b.parquet", urls("4.jpg"), first=3)  # of which nothing stays
    select(SelectRecipe(input=[path, other], rules=SelectionRules(min_side=200)), str(tmp_path / "selected"))
    totals = download(recipe_of(f"{tmp_path}/selected/data/*.parquet"), str(tmp_path / "out"))
    assert (totals.outputs, totals.rows_in, totals.rows_out, totals.counts) == (1, 2, 2, {"blurred_images": 1})
    assert samples(tmp_path / "out", "00000000") == [
        ("000000000", "caption of 0", jpeg(1)),
        ("000000001", "caption of 2", jpeg(3)),
    ]
    assert stand_in.asked == ["https://host0.example/1.jpg", "https://host2.example/3.jpg"]


@pytest.mark.usefixtures("stand_in")
def test_metadata_that_has_changed_is_refused(tmp_path: Path) -> None:
    path = write_metadata(tmp_path / "b.parquet", urls("1.jpg", "2.jpg"))
    output = str(tmp_path / "out")
    download(recipe_of(f"{tmp_path}/*.parquet"), output)
    download(recipe_of(f"{tmp_path}/*.parquet"), output)
    write_metadata(tmp_path / "a.parquet", urls("3.jpg"))
    with pytest.raises(UsageError, match=r"the metadata has changed since .*/data/00000000 was committed"):
        download(recipe_of(f"{tmp_path}/*.parquet"), output)
    (tmp_path / "a.parquet").unlink()
    write_metadata(Path(path), urls("1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"))
    with pytest.raises(UsageError, match="the metadata has changed"):
        download(recipe_of(f"{tmp_path}/*.parquet"), output, retry_failed=True)


def test_more_patience_is_no_other_recipe(stand_in: StandIn, tmp_path: Path) -> None:
    path = write_metadata(tmp_path / "a.parquet", urls("1.jpg", "http_503"))
    download(recipe_of(path), str(tmp_path / "out"))
    patient = DownloadRun(workers=1, timeout=60, deadline_seconds=7200, retries=5, allow_hosts=["a"], threads=8)
    recipe = recipe_of(path).model_copy(update={"run": patient})
    assert recipe.build_options().timeout == 60
    stand_in.is_mended = True
    assert download(recipe, str(tmp_path / "out"), retry_failed=True).rows_out == 2
    with pytest.raises(UsageError, match="image_size is 512 there and 256 here"):
        download(recipe_of(path, image_size=256), str(tmp_path / "out"))


def test_the_recipe_that_ships_says_what_is_so_without_it() -> None:
    shipped = load_recipe(DownloadRecipe, str(REPOSITORY / "recipes/download.yaml"), input=["x"])
    assert shipped == DownloadRecipe(input=["x"])
    values = read_recipe(str(REPOSITORY / "recipes/download.yaml"))
    assert {*values} == {"kind"} | {*DownloadRecipe.model_fields} - {"input", *ChosenRows.model_fields}
    assert {*values["run"]} == {*DownloadRun.model_fields} - {"allow_damaged", "allow_download", "output"}


WRONG_USE = {
    "download {made}/*.csv -o {out}": "no file matches {made}/*.csv",
    "download {made}/text.parquet -o {out}": "{made}/text.parquet is not a Parquet file: ",
    "download {made}/text.txt -o {out}": "{made}/text.txt is not a .parquet file: the glob should match",
    "download {made}/nourl.parquet -o {out}": "{made}/nourl.parquet has no column url: is it another set's?",
    "download {made}/nohash.parquet -o {out} --verify-hash": "{made}/nohash.parquet has no column sha256: is it",
    "download {made}/none.parquet -o {out}": "there is no row in {made}/none.parquet",
    "download {made}/nohash.parquet": "no output folder: pass --output, or set run.output in the recipe",
    "download -o {out}": "missing: input; for example: shardloom download ",
    "download {made}/nohash.parquet -o {out} --urls-per-shard 0": "recipe: urls_per_shard: input should be greater",
    "download {made}/a.yaml -r {made}/a.yaml": "{made}/a.yaml and --recipe {made}/a.yaml: pass one recipe",
    "download {made}/a.yaml -o {out}": "recipe {made}/a.yaml: unknown key timeout",
    "download {made}/nohash.parquet -o {made}": "{made} is not empty and holds no recipe.yaml: use a",
}


@pytest.mark.parametrize("command", WRONG_USE)
def test_wrong_use_is_one_line(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = tmp_path / "made"
    write_metadata(made / "nourl.parquet", ["x"])
    pl.DataFrame({"uid": ["a"]}).write_parquet(made / "nourl.parquet")
    pl.DataFrame({"url": ["https://a.example/1.jpg"]}).write_parquet(made / "nohash.parquet")
    write_metadata(made / "none.parquet", [])
    (made / "text.parquet").write_text("no Parquet")
    (made / "text.txt").write_text("no Parquet")
    (made / "a.yaml").write_text("input: x\ntimeout: 5")
    words = [word.format(made=made, out=tmp_path / "out") for word in command.split()]
    with pytest.raises(SystemExit) as stopped:
        main(words)
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said.startswith(f"error: {WRONG_USE[command].format(made=made)}")
    assert said.count("\n") == 1


def test_no_environment_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHARDLOOM_ENVIRONMENTS", "/dev/null/none")
    path = write_metadata(tmp_path / "a.parquet", urls("1.jpg"))
    with pytest.raises(SystemExit) as stopped:
        main(["download", path, "--output", str(tmp_path / "out")])
    assert stopped.value.code == 1
    assert capsys.readouterr().err.endswith("set SHARDLOOM_ENVIRONMENTS to a writable folder\n")


def test_the_command_tells_what_came_of_it(
    stand_in: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_metadata(tmp_path / "a.parquet", urls("1.jpg", "http_503", "http_404"))
    out = str(tmp_path / "out")
    with pytest.raises(SystemExit) as done:
        main(["download", path, "-o", out, "--workers", "1"])
    said = capsys.readouterr()
    assert done.value.code == 0
    assert said.out == f"{out}: 3 rows in, 1 out, 2 quarantined (1 http_404, 1 http_503)\n"
    assert said.err == "1 of the failures may be temporary: --retry-failed retries them\n"
    stand_in.is_mended = True
    with pytest.raises(SystemExit):
        main(["download", path, "-o", out, "--workers", "1", "--retry-failed", "--json"])
    said = capsys.readouterr()
    assert json.loads(said.out)["reasons"] == {"http_404": 1}
    assert said.err == ""


def test_hosts_that_were_refused_are_asked_when_all_are(
    stand_in: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_of(write_metadata(tmp_path / "a.parquet", urls("refused", "refused", "http_404")))
    output = str(tmp_path / "out")
    download(recipe, output)
    hint = "2 refused_address: to download from a host of a private network, pass --allow-host NAME with --retry-all\n"
    assert capsys.readouterr().err == hint
    download(recipe, output, retry_failed=True)
    found = "nothing to retry: 2 refused_address, 1 http_404 (--retry-all retries them all)\n"
    assert capsys.readouterr().err == found + hint
    stand_in.is_mended = True
    assert download(recipe, output, retry_all=True).reasons == {}
    assert capsys.readouterr().err == ""
    download(recipe, output, retry_all=True)
    assert capsys.readouterr().err == "nothing to retry: no image failed\n"


@pytest.mark.usefixtures("stand_in")
def test_a_folder_of_another_recipe_is_refused_before_the_plan(tmp_path: Path, shown: list[str]) -> None:
    path = write_metadata(tmp_path / "a.parquet", urls("1.jpg"))
    download(recipe_of(path), str(tmp_path / "out"))
    assert shown[0].startswith("plan: 100%, 1 files, ")
    shown.clear()
    with pytest.raises(UsageError, match=r"\(image_size is 512 there and 256 here\): use a new output folder"):
        download(recipe_of(path, image_size=256), str(tmp_path / "out"))
    with pytest.raises(UsageError, match="out is a download set, not a select set: use a new output folder"):
        select(SelectRecipe(input=[path], rules={"top_fraction": 0.5}), str(tmp_path / "out"))
    assert shown == []
