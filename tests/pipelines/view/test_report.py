"""Every run ends with a report: a page of a sample, which is no part of the set, and takes seconds at most."""

import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from curation.mixture.ranges import ByteRange, RangeReader
from pipelines.download.run import DownloadJob
from pipelines.mix.run import mix
from pipelines.output.job import Job
from pipelines.recipes.mix import MixRecipe
from pipelines.recipes.render import RenderRecipe
from pipelines.render.run import render_set
from pipelines.select.run import SelectJob
from pipelines.verify.run import verify
from pipelines.view.image_shards import LATE
from pipelines.view.kinds import list_views
from pipelines.view.options import ViewOptions
from pipelines.view.report import SAMPLE, write_report
from pipelines.view.run import build_page
from schemas.output_set.layout import REPORT, read_manifests
from schemas.storage.folder import Folder
from tests.pipelines.support.pages import Element, read_page
from tests.pipelines.support.published import take_in
from tests.pipelines.support.sets import ALONE, annotation_set, caption_set, every_file, join, rows


@pytest.fixture(scope="module")
def sets(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captions, training shards of them, plain ones, and a mixture of both, each made by its command."""
    folder = tmp_path_factory.mktemp("reports")
    images = make_shards(folder / "images", shards=2, samples=20)
    captions = caption_set(annotation_set(images, folder / "annotations"), folder / "captions")
    join(images, captions, folder / "training")
    take_in("datacomp", images, folder / "plain")
    sources = {"ocr": [f"{folder}/training"], "plain": [f"{folder}/plain"]}
    mix(MixRecipe(sources=sources, weights={"ocr": 1, "plain": 1}, run=ALONE), f"{folder}/mixed")
    return folder


def read_report(output: Path) -> Element:
    return read_page((output / REPORT).read_bytes())


@pytest.mark.parametrize("name", ["captions", "training", "plain", "mixed"])
def test_a_run_ends_with_a_page_of_pictures(sets: Path, name: str) -> None:
    page = read_report(sets / name)
    assert page.find_all("h1")[0].read() == str(sets / name)
    cards = page.find_all("section", class_="cards")[0].find_all("article")
    assert 0 < len(cards) <= SAMPLE
    assert all(len(card.find_all("img")) == 1 for card in cards)
    assert [one.read() for one in page.find_all("p", class_="warning")] == []
    assert verify(str(sets / name))[1] == []


@pytest.mark.parametrize("name", ["captions", "training", "mixed"])
def test_a_report_changes_nothing_else(sets: Path, name: str) -> None:
    before = every_file(sets / name)
    write_report(Folder(str(sets / name)))
    after = every_file(sets / name)
    assert after == before, "the same set has the same page"
    assert REPORT not in {out.path for one in read_manifests(Folder(str(sets / name))).values() for out in one.outputs}


def test_the_same_command_again_leaves_it_and_writes_a_lost_one(sets: Path, tmp_path: Path) -> None:
    output = tmp_path / "captions"
    caption_set(sets / "annotations", output)
    page = (output / REPORT).read_bytes()
    (output / REPORT).write_bytes(b"edited")
    caption_set(sets / "annotations", output)
    assert (output / REPORT).read_bytes() == b"edited"
    (output / REPORT).unlink()
    caption_set(sets / "annotations", output)
    assert (output / REPORT).read_bytes() == page


def test_a_resumed_run_shows_the_whole_set(sets: Path, tmp_path: Path) -> None:
    output = tmp_path / "captions"
    caption_set(sets / "annotations", output)
    whole = (output / REPORT).read_bytes()
    (output / "manifests/00000001.json").unlink()
    (output / REPORT).write_bytes(b"of one shard")
    caption_set(sets / "annotations", output)
    assert (output / REPORT).read_bytes() == whole


def test_a_damaged_set_is_one_line(sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "captions"
    caption_set(sets / "annotations", output)
    (output / REPORT).unlink()
    path = output / "data/00000000.parquet"
    path.write_bytes(b"x" * path.stat().st_size)
    capsys.readouterr()
    totals = render_set(RenderRecipe(input=str(sets / "annotations"), run=ALONE), str(output))
    assert totals.is_unchanged
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{output}/{REPORT} was not written: ShardloomError: {path} is not as it was committed")


def test_a_report_that_may_take_no_time(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(sets / "captions", tmp_path / "captions")
    monkeypatch.setattr("pipelines.view.report.MAX_SECONDS", -1.0)
    write_report(Folder(str(tmp_path / "captions")))
    assert [one.read() for one in read_report(tmp_path / "captions").find_all("p", class_="warning")] == [LATE]


def test_no_time_is_left(sets: Path) -> None:
    """What was read first is shown, and the rest is not waited for."""
    folder = Folder(str(sets / "captions"))
    page = build_page(folder, ViewOptions(sample=SAMPLE, deadline=time.monotonic()))
    assert page.notes == [LATE]
    (section,) = [one for one in page.sections if one.holds_samples]
    assert {card.key.split("/")[0] for card in section.cards} == {"00000000"}
    assert {picture.fault for card in section.cards for picture in card.pictures} == {"its image was not found"}


def test_no_time_is_left_for_samples_of_training_shards(sets: Path) -> None:
    page = build_page(Folder(str(sets / "training")), ViewOptions(sample=8, deadline=time.monotonic()))
    (section,) = [one for one in page.sections if one.holds_samples]
    (card,) = section.cards
    assert [picture.fault for picture in card.pictures] == ["left out: the time for the page was over"]
    assert page.notes[0] == "1 of 2 samples are shown, because the time for the page was over"


def test_a_short_time_takes_the_first_rows(sets: Path) -> None:
    folder = Folder(str(sets / "captions"))
    options = ViewOptions(sample=4, deadline=time.monotonic() + 600)
    (section,) = [one for one in build_page(folder, options).sections if one.holds_samples]
    keys = [row["key"] for row in rows(sets / "captions")]  # of two files with as many
    first, second = keys[:2], keys[len(keys) // 2 :][:2]
    assert [card.key for card in section.cards] == [
        *(f"00000000/{key}" for key in first),
        *(f"00000001/{key}" for key in second),
    ]


@pytest.fixture(scope="module")
def sizes(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same sets of ten and of twenty image shards, in most of which a row is left out."""
    folders = []
    for shards in (10, 20):
        folder = tmp_path_factory.mktemp(f"shards-{shards}")
        images = make_shards(folder / "images", shards=shards, samples=6)
        captions = caption_set(annotation_set(images, folder / "annotations"), folder / "captions")
        join(images, captions, folder / "training", samples_per_shard=6)
        join(images, captions, folder / "referring", samples_per_shard=6, by_reference=True)
        join(images, captions, folder / "parquet", samples_per_shard=6, format="parquet")
        take_in("datacomp", images, folder / "plain")
        folders.append(folder)
    return folders


def count_reads(output: Path) -> Counter[str]:
    """How many files of each folder a report opens, and bytes that it takes from those that it reads whole."""
    reads: Counter[str] = Counter()
    plain_open, plain_read, plain_range = Folder.open, Folder.read, RangeReader._open

    def log_open(folder: Folder, name: str) -> object:
        reads[f"{Path(folder.resolve_path(name)).parent.name} opened"] += 1
        return plain_open(folder, name)

    def log_read(folder: Folder, name: str) -> bytes:
        data = plain_read(folder, name)
        reads[f"{Path(folder.resolve_path(name)).parent.name} read"] += 1
        return data

    def log_range(reader: RangeReader, wanted: ByteRange) -> int:
        reads[f"{Path(wanted.path).parent.name} ranges"] += 1
        return plain_range(reader, wanted)

    folder = Folder(str(output))
    manifests = read_manifests(folder)
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, logged in (
            (Folder, "open", log_open),
            (Folder, "read", log_read),
            (RangeReader, "_open", log_range),
        ):
            patch.setattr(owner, name, logged)
        write_report(folder, manifests)
    return reads


READS = {
    "annotations": {"annotations read": 1, "data read": 4, "images opened": 4},
    "captions": {"captions read": 1, "data read": 4, "quarantine read": 8, "images opened": 12},
    "training": {"training read": 2, "index read": 4, "data ranges": 4, "quarantine read": 8, "images opened": 16},
    "referring": {
        **{"referring read": 2, "index read": 4, "data ranges": 4, "images ranges": 8},
        **{"quarantine read": 8, "images opened": 16},
    },
    "parquet": {"parquet read": 2, "index read": 4, "data opened": 24, "quarantine read": 8, "images opened": 16},
    "plain": {"plain read": 2, "index read": 4, "data ranges": 4},
}
"""The recipe, four files of rows with the tars of their images, and up to eight of quarantined rows with theirs."""


@pytest.mark.parametrize("name", READS)
def test_a_report_reads_no_more_of_a_larger_set(sizes: list[Path], name: str) -> None:
    small, large = (count_reads(folder / name) for folder in sizes)
    assert large == READS[name]
    assert small == large


def test_each_kind_of_run_that_a_page_shows_has_a_report() -> None:
    assert set(list_views()) == {"annotate", "evaluation", "ingest", "mix", "render", "shard", "train"}
    assert Job.has_report
    assert not SelectJob.has_report
    assert not DownloadJob.has_report
