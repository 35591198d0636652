"""A run that comes to a halt says what it waits for, and names the stage that holds it up long before."""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from curation.engines.declaration import EngineDeclaration
from curation.engines.kinds import BOXES
from curation.images.decode import RgbImage
from pipelines.annotate.graph_watch import (
    describe_retries,
    describe_stalled_stage,
    describe_start,
    explain_stall,
    find_stalled_stage,
)
from pipelines.cluster.ledger import Snapshot, StageCounts, StageState
from schemas.output_set.options import Options
from schemas.records.box import Detection
from tests.pipelines.support.drivers import Driver
from tests.pipelines.support.engines import PixelBoxes

CHUNK = "shard-chunk 00000000/1, samples 0 to 3"
STAGES = ("tags", "ocr", "boxes")

NOTHING = StageState()
AT_WORK = StageState(at_work=1, seconds_since_progress=40, oldest_chunk=CHUNK)
HELD_UP = StageState(queued=2, seconds_since_progress=40)
"""Chunks in its queue, and none at work: those that it has done are not taken from it."""
BUSY = StageState(at_work=1, queued=2, seconds_since_progress=3)


def snapshot(workers: tuple[int, ...], *states: StageState) -> Snapshot:
    stages = {stage: StageCounts(workers=count) for stage, count in zip(STAGES, workers, strict=True)}
    return Snapshot(stages, dict(zip(STAGES, states, strict=True)))


@pytest.mark.parametrize(
    ("workers", "states", "lacks", "line"),
    [
        ((1, 2, 2), (HELD_UP, HELD_UP, AT_WORK), None, f"stage boxes has been working on {CHUNK}"),
        ((1, 2, 2), (HELD_UP, AT_WORK, NOTHING), None, f"stage ocr has been working on {CHUNK}"),
        ((1, 2, 0), (HELD_UP, AT_WORK, NOTHING), None, f"stage ocr has been working on {CHUNK}"),
        (
            (1, 2, 0),
            (HELD_UP, HELD_UP, HELD_UP),
            None,
            "no worker of stage boxes has started (are there CPUs and GPUs left on the cluster?)",
        ),
        (
            (1, 0, 2),
            (NOTHING, NOTHING, NOTHING),
            None,
            "no worker of stage ocr has started (are there CPUs and GPUs left on the cluster?)",
        ),
        ((1, 2, 2), (HELD_UP, HELD_UP, HELD_UP), None, "stage boxes has started none of its 2 queued chunks"),
        ((1, 2, 2), (NOTHING, NOTHING, NOTHING), None, "stage tags is waiting for shards to be read"),
        (
            (1, 2, 2),
            (HELD_UP, HELD_UP, AT_WORK),
            "there is no room",
            f"stage boxes has been working on {CHUNK}; there is no room",
        ),
    ],
)
def test_a_halt(workers: tuple[int, ...], states: tuple[StageState, ...], lacks: str | None, line: str) -> None:
    assert explain_stall(snapshot(workers, *states), 99.6, lacks) == f"no progress for 100 s: {line}"


def test_the_stage_that_hangs_is_named_and_not_its_victims() -> None:
    workers = (1, 1, 1)
    assert find_stalled_stage(snapshot(workers, HELD_UP, HELD_UP, AT_WORK), 30) == "boxes"
    assert find_stalled_stage(snapshot(workers, HELD_UP, HELD_UP, BUSY), 30) is None  # they wait for one that is slow
    assert find_stalled_stage(snapshot(workers, HELD_UP, AT_WORK, BUSY), 30) == "ocr"  # the next one still has work
    assert find_stalled_stage(snapshot(workers, BUSY, HELD_UP, NOTHING), 30) == "ocr"
    assert find_stalled_stage(snapshot(workers, HELD_UP, HELD_UP, AT_WORK), 41) is None


def test_a_note_comes_at_a_third_of_the_patience() -> None:
    found = snapshot((1, 1, 1), HELD_UP, HELD_UP, AT_WORK)
    assert describe_stalled_stage(found, 100) == "stage boxes has made no progress for 40 s"
    assert describe_stalled_stage(found, 600) == ""
    assert (
        describe_stalled_stage(snapshot((1, 1, 0), HELD_UP, HELD_UP, HELD_UP), 100) == ""
    )  # "starting workers of boxes" is said


def test_what_a_run_waits_for_until_its_first_images_are_done() -> None:
    found = snapshot((1, 0, 0), NOTHING, NOTHING, NOTHING)
    assert describe_start(found) == "starting workers of ocr, boxes, which load their weights"
    found = snapshot((1, 1, 1), NOTHING, AT_WORK, NOTHING)
    found.stages["ocr"].images = 16
    assert describe_start(found) == "waiting for the first batch of boxes"
    found.stages["boxes"].images = 4
    assert describe_start(found) == ""


def test_requests_that_are_retried_are_told_with_their_reasons() -> None:
    assert describe_retries(snapshot((1, 1, 1), NOTHING, AT_WORK, NOTHING)) == ""
    one = StageState(retrying=Counter({"HTTP 429": 1}))
    many = StageState(retrying=Counter({"no answer within 120 s": 2, "connection refused": 1200, "a": 1, "b": 1}))
    assert describe_retries(snapshot((1, 1, 1), one, many, NOTHING)) == (
        "tags: 1 request retried: HTTP 429; ocr: 1,204 requests retried: connection refused, no answer within 120 s, a"
    )


class HangingBoxes(PixelBoxes):
    """Never comes back."""

    def annotate(self, images: Sequence[RgbImage], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        time.sleep(3600)
        return super().annotate(images, names)


HANGING_BOXES = EngineDeclaration(name="HangingBoxes", kind=BOXES, settings=Options, make=HangingBoxes)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_the_last_stage_hangs_and_the_others_go_on_for_a_while(make_shards: Callable[..., str], tmp_path: Path) -> None:
    images = make_shards(tmp_path / "images", shards=2, samples=20)
    (tmp_path / "words.txt").write_text("picture\n")
    engines = {
        "tags": {"engine": "caption", "settings": {"vocabulary": str(tmp_path / "words.txt")}},
        "ocr": {"engine": "PixelOcr"},
        "boxes": {"engine": f"{__name__}:HANGING_BOXES"},
    }
    driver = Driver(tmp_path, images, engines=engines, workers=1, stall_seconds=60)  # a note from 20 s on
    finished = driver.run()
    assert finished.returncode == 1
    *progress, last = finished.stderr.splitlines()
    said = r"error: no progress for \d+ s: stage boxes has been working on shard-chunk 0000000\d/\d, samples 0 to 3; .*"
    assert re.fullmatch(said, last), finished.stderr
    notes = [line for line in progress if "no progress" in line]
    assert notes
    said = r"annotate: 0%, waiting for the first batch of boxes; stage boxes has made no progress for \d+ s"
    assert all(re.fullmatch(said, line) for line in notes), notes
