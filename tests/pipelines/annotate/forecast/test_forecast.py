"""The probe on real workers, and the run that follows."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.annotate.forecast.facts import SampleFacts
from pipelines.annotate.forecast.forecast import ProbeTimes, estimate_run
from pipelines.annotate.forecast.options import ForecastOptions
from pipelines.annotate.forecast.run import build_probe_recipe, count_chosen
from pipelines.annotate.forecast.timeline import Group
from pipelines.cluster.chunk_times import ChunkTime
from pipelines.inputs.shards import choose_samples, list_input_shards
from pipelines.recipes.annotate import AnnotateRecipe, ChunkOptions
from schemas.storage.folder import Folder
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.engines import trust_flags
from tests.pipelines.support.sets import in_process

FACTS = SampleFacts(100, 2, bytes_in=1000.0, bytes_out=50.0, pixels=250_000.0)


def make_probe(**changes: Any) -> ProbeTimes:
    """Two workers that read ten images in five seconds each, after a first chunk of eight."""
    times = []
    for worker in range(2):
        ends = [8, 13, 18, 23]
        for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            times.append(ChunkTime("ocr", str(worker), f"{worker}/{number}", 10, 10_000, start, end))
    values = {
        "stages": {"ocr": 2},
        "groups": [Group(frozenset(["ocr"]), 2)],
        "unit": 10,
        "slice_unit": 10,
        "start": 12.0,
        "closing": 1.0,
    }
    return ProbeTimes(**values | {"times": times, "peaks": {"ocr": [7, 8]}} | changes)


def test_the_numbers_of_a_run() -> None:
    options = ForecastOptions(images=1000, price_per_hour=36.0)
    found = estimate_run("0", ChunkOptions(samples=10), make_probe(), FACTS, 5_000_000, options)
    assert found.seconds_per_image == pytest.approx(0.25)
    assert found.seconds.value == pytest.approx(12 + 3 + 1 + 250)
    assert found.seconds.low < 250 < 290 < found.seconds.high
    assert (found.slowest, found.stages[0].images_per_second.value) == (["ocr"], 4)
    assert (found.bytes_in, found.bytes_out) == (1_000_000, 50_000)
    assert found.money is not None
    assert found.money.value == pytest.approx(2.66)
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["hours"]["value"] == pytest.approx(266 / 3600)
    assert plain["stages"][0]["worker_bytes"] == 8


def test_images_are_counted_by_the_bytes_of_the_input() -> None:
    found = estimate_run("0", ChunkOptions(), make_probe(), FACTS, 5_000_000, ForecastOptions())
    assert (found.images, found.are_images_given, found.money) == (5000, False, None)


def test_longer_slices_at_the_end_of_the_run_idle_longer() -> None:
    times = make_probe().times
    uneven = make_probe(times=[one for one in times if one.chunk != "1/3"])
    short, long = (
        estimate_run("0", ChunkOptions(samples=samples), uneven, FACTS, 0, ForecastOptions(images=1000)).seconds.value
        for samples in (10, 240)
    )
    assert long - short == pytest.approx(2.5), "slices of twenty images, where the probe has chunks of ten"
    finer = make_probe(times=uneven.times, slice_unit=1)
    least = estimate_run("0", ChunkOptions(samples=60), finer, FACTS, 0, ForecastOptions(images=1000)).seconds.value
    assert short - least == pytest.approx(1.25), "slices of five images, where no engine needs whole batches"


@pytest.mark.slow
@pytest.mark.ray
def test_a_plan_and_its_run(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for shard in range(2):
        path = tmp_path / f"images/{shard}.tar"
        write_shard(path, [jpeg(64 * shard + number) for number in range(64)], first=64 * shard)
    recipe = tmp_path / "recipe.yaml"
    engine = {"engine": "PixelOcr", "settings": {"seconds": 0.05}, "batch_size": 4}
    values = {"kind": "annotate", "input": [f"{tmp_path}/images/*.tar"], "engines": {"ocr": engine}}
    recipe.write_text(json.dumps(values))
    command = ["annotate", recipe, "--output", tmp_path / "out", "--workers", 2, *trust_flags("PixelOcr")]
    done = in_process(*command, "--plan", "--json", "--images", 128, "--price-per-hour", 36)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["images"] == 128
    assert [stage["stage"] for stage in plan["stages"]] == ["ocr"]
    assert 10 < plan["stages"][0]["images_per_second"]["value"] < 40, "two workers with 50 ms an image"
    assert plan["stages"][0]["worker_bytes"] > 50_000_000
    assert plan["seconds"]["low"] <= plan["seconds"]["value"] <= plan["seconds"]["high"]
    assert plan["money"]["value"] == pytest.approx(plan["seconds"]["value"] / 100)
    assert plan["probe"]["images"] >= 32
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "out.plan", "recipe.yaml"]
    assert [path.name for path in (tmp_path / "out.plan").rglob("*.*")] == ["plan.json"], "the sample is removed"
    shown = in_process(*command, "--plan")
    assert "the run waits for ocr: " in shown.stdout
    assert " images (by the bytes of the input): " in shown.stdout
    few = in_process(*command, "--limit", 40, "--plan")
    assert "\n40 images: " in few.stdout, few.stdout + few.stderr
    again = in_process(*command, "--plan")
    assert again.returncode == 0, again.stderr
    run = in_process(*command)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("plan: "), run.stdout
    assert " for 128, " in run.stdout.splitlines()[0] or " for 128" in run.stdout.splitlines()[0]
    assert run.stdout.splitlines()[1].startswith("images/s: ocr ")


def test_a_run_on_fewer_images_is_planned_as_that(tmp_path: Path) -> None:
    for number in range(2):
        write_shard(tmp_path / f"{number}.tar", [jpeg(key) for key in range(8)], first=8 * number)
    shards = list_input_shards([f"{tmp_path}/*.tar"], ".tar")
    recipe = AnnotateRecipe.model_validate({"input": f"{tmp_path}/*.tar", "engines": {"ocr": {"engine": "rapidocr"}}})
    assert count_chosen(choose_samples(shards, recipe)) is None
    for choice, images in (({"limit": 10}, 10), ({"sample": 5, "seed": 1}, 5), ({"limit": 99}, 16)):
        chosen = recipe.model_copy(update=choice)
        assert count_chosen(choose_samples(shards, chosen)) == images
        probe = build_probe_recipe(chosen, Folder(f"{tmp_path}"))
        assert (probe.row_option, probe.seed) == (None, 0), "of the images that are drawn, none is left out"


def test_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_shard(tmp_path / "images/0.tar", [])
    base = ["annotate", "ocr", "--input", f"{tmp_path}/images/*.tar"]
    assert "no output folder: pass --output" in in_process(*base, "--plan").stderr
    base += ["--output", f"{tmp_path}/out"]
    assert in_process(*base, "--plan").stderr == "error: --plan: the input has no readable sample\n"
    assert "--images and --price-per-hour are for --plan" in in_process(*base, "--images", 9).stderr
    assert "--plan: images: input should be greater than 0" in in_process(*base, "--plan", "--images", 0).stderr
