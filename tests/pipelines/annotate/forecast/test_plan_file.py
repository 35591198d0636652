"""A forecast is kept beside the output, and a run says how far it was right."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pipelines.annotate.forecast.plan_file import format_seconds, open_plan_folder, read_plan, reconcile
from pipelines.output.totals import RunTimes
from pipelines.verify.run import verify
from schemas.output_set.layout import read_manifests
from schemas.output_set.manifest import seal
from schemas.storage.folder import Folder
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.sets import annotation_set


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An annotation set of six images, whose run took 100 seconds."""
    (tmp_path / "images").mkdir()
    write_shard(tmp_path / "images/0.tar", [jpeg(number) for number in range(6)])
    made = annotation_set(f"{tmp_path}/images/*.tar", tmp_path / "out")
    counts = {"images": 6, "working_seconds": 80.0}
    times = RunTimes(runs=1, seconds=100.0, rows={"annotated": 5, "too_small": 1}, stages={"ocr": counts})
    (made / "stats.json").write_bytes(seal(asdict(times)))
    return made


def write(output: Path, **changes: Any) -> None:
    sha256 = next(iter(read_manifests(Folder(str(output))).values())).recipe_sha256
    plan = {
        "recipe_sha256": sha256,
        "images": 6,
        "seconds": {"value": 80.0, "low": 60.0, "high": 110.0},
        "stages": [{"stage": "ocr", "images_per_second": {"value": 0.1, "low": 0.09, "high": 0.12}}],
        "slowest": ["ocr"],
    }
    open_plan_folder(str(output)).write("plan.json", seal(plan | changes))


def test_a_run_beside_its_plan(output: Path) -> None:
    write(output)
    assert reconcile(str(output)) == [
        "plan: 80 s (60 to 110) for 6 images; took 100 s for 6, +25%, inside the interval",
        "images/s: ocr 0.07 of 0.10 planned",
    ]
    plan = read_plan(str(output))
    assert plan is not None
    assert plan["actual"] == {"images": 6, "seconds": 100.0, "stages": {"ocr": 0.075}}
    assert reconcile(str(output))[0].endswith("inside the interval"), "the plan stays as it was"
    assert verify(str(output)) == (1, []), "the plan is no part of the set"


def test_a_time_outside_the_interval_and_another_number_of_images(output: Path) -> None:
    write(output, seconds={"value": 50.0, "low": 40.0, "high": 60.0})
    assert reconcile(str(output))[0].endswith("+100%, outside the interval")
    write(output, images=1000)
    assert reconcile(str(output))[0] == "plan: 80 s (60 to 110) for 1,000 images; took 100 s for 6"


def test_no_plan_that_of_another_recipe_and_one_that_was_changed(output: Path) -> None:
    assert reconcile(str(output)) == []
    write(output, recipe_sha256="0" * 64)
    assert reconcile(str(output)) == []
    write(output)
    path = output.with_name("out.plan") / "plan.json"
    path.write_text(path.read_text().replace("80.0", "81.0"))
    assert (read_plan(str(output)), reconcile(str(output))) == (None, [])
    path.write_text(json.dumps([]))
    assert reconcile(str(output)) == []


def test_times_in_words() -> None:
    assert format_seconds({"value": 80, "low": 70.4, "high": 1095}) == "80 s (70 to 1,095)"
    assert format_seconds({"value": 36_000, "low": 32_400, "high": 43_200}) == "10.0 hours (9.0 to 12.0)"
