"""Workers that never come back are ended, and the sample that holds them is found; a broken engine ends the run."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from curation.images.decode import DecodeLimits
from pipelines.annotate.chunks import read_chunk_sample
from pipelines.annotate.hang_watch import HangWatch
from pipelines.annotate.run import annotate
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.recipes.shard import ShardRecipe
from pipelines.shard.run import shard
from pipelines.verify.run import verify
from schemas.tar.reader import TarReader
from tests.conftest import jpeg, write_shard
from tests.curation.images.support.many_scans import many_scans
from tests.pipelines.support.sets import ALONE, annotation_set, caption_set, line, rows


def test_what_is_bounded_by_which_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, cpu = [1000.0], [10.0]
    times = vars(time) | {"monotonic": lambda: clock[0], "clock_gettime": lambda _: cpu[0]}
    # not the functions of the module itself, which other threads use
    monkeypatch.setattr("pipelines.annotate.hang_watch.time", SimpleNamespace(**times))
    watch = HangWatch(None, 100, DecodeLimits())  # type: ignore[arg-type]
    assert (watch.work_seconds, watch.decode_seconds) == (70, 40)
    with watch.track_work("a/0", (0, 4)) as engine, watch.track_work("a/0", (3, 4), is_decoding=True) as decoding:
        assert list(watch._at_work.values()) == [engine, decoding]
    assert not watch._at_work

    def state(seconds: float, cpu_seconds: float) -> tuple[str, str]:
        clock[0], cpu[0] = 1000 + seconds, 10 + cpu_seconds
        return tuple(
            "hung" if watch.is_hung(one) else "slow" if watch.is_slow(one) else "" for one in (engine, decoding)
        )

    assert state(13, 13) == ("", "")
    assert state(35, 35) == ("slow", "slow")
    assert state(37, 37) == ("slow", "hung"), "an engine's batch may take longer than an image"
    assert state(71, 71) == ("hung", "hung")
    assert state(71, 35) == ("slow", "slow"), "a busy machine makes no image slow, and no batch"
    assert state(400, 35) == ("slow", "slow")
    assert state(60, 1) == ("", "slow")
    assert state(71, 1) == ("hung", "hung"), "it waits for something"
    with watch.track_work("a/0", (0, 4), wait_seconds=600) as waiting:
        pass
    clock[0] = waiting.since + 660
    assert (watch.is_hung(waiting), watch.is_slow(waiting)) == (False, True), "it said how long it may wait"
    clock[0] = waiting.since + 671
    assert watch.is_hung(waiting)
    with watch.track_work("a/1", (0, 4), wait_seconds=600):
        pass
    clock[0] += 660
    assert not watch.is_hung(waiting), "it may wait behind a batch that has ended only now"


def test_the_bounds_are_below_the_patience_of_the_run() -> None:
    watch = HangWatch(None, 15, DecodeLimits(max_pixels=170_000_000))  # type: ignore[arg-type]
    assert watch.work_seconds == watch.decode_seconds == 10.5
    assert HangWatch(None, 300, DecodeLimits(max_pixels=170_000_000)).decode_seconds == 106.25  # type: ignore[arg-type]


def test_images_of_thousands_of_scans_are_left_out_where_shards_are_read_and_joined(tmp_path: Path) -> None:
    poison = many_scans(3000, side=5000)
    write_shard(tmp_path / "00000000.tar", [jpeg(0), poison, jpeg(2)])
    with (tmp_path / "00000000.tar").open("rb") as file:
        assert [read_chunk_sample(sample).pixels for sample in TarReader(file)] == [64 * 48, 0, 64 * 48]
    annotations = annotation_set(f"{tmp_path}/*.tar", tmp_path / "annotations", lambda _: [line("OPEN")])
    captions = caption_set(annotations, tmp_path / "captions")
    recipe = ShardRecipe(images=[f"{tmp_path}/*.tar"], captions=str(captions), run=ALONE)
    totals = shard(recipe, str(tmp_path / "training"))
    assert (totals.rows_in, totals.rows_out, totals.reasons) == (3, 2, {"decode_error": 1})
    [row] = rows(tmp_path / "training", "quarantine")
    assert (row["key"], row["detail"]) == ("000000000001", "JPEG: 3000 scans, the limit is 100")


def hung_shard(folder: Path, hung: set[int], samples: int = 12) -> str:
    """A shard in which the samples at these places are 80 pixels wide, the others 64."""
    folder.mkdir()
    write_shard(folder / "00000000.tar", [jpeg(n, width=80 if n in hung else 64) for n in range(samples)])
    return f"{folder}/*.tar"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.xdist_group("ray")
@pytest.mark.usefixtures("own_engines")
def test_a_sample_at_which_an_engine_hangs_is_quarantined_and_its_neighbours_stay(tmp_path: Path) -> None:
    """And so is an image that no decoder would come to the end of."""
    images = hung_shard(tmp_path / "images", {9})
    write_shard(tmp_path / "images/00000001.tar", [jpeg(20), many_scans(5000, side=6000), jpeg(22)], first=20)
    recipe = AnnotateRecipe.model_validate(
        {
            "input": images,
            "engines": {"ocr": {"engine": "HangingWideOcr", "settings": {"width": 80}, "batch_size": 4}},
            "chunk": {"samples": 4},
            "run": {"workers": 1, "stall_seconds": 30},
        }
    )
    totals = annotate(recipe, str(tmp_path / "out"))
    assert (totals.rows_in, totals.rows_out) == (15, 13)
    assert totals.reasons == {"worker_killed": 1, "decode_error": 1}
    assert [(row["key"], row["stage"], row["detail"]) for row in rows(tmp_path / "out", "quarantine")] == [
        ("000000000009", "ocr", "a worker hung while processing only this sample and was killed"),
        ("000000000021", "decode", "JPEG: 5000 scans, the limit is 100"),
    ]
    assert verify(str(tmp_path / "out")) == (2, [])
