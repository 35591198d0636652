"""The main job over good, odd and hostile input: every row accounted for, every fault named, the same bytes always."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from PIL import Image

from pipelines.annotate.run import annotate
from pipelines.demo.shards import write_shards
from pipelines.output.totals import DamagedInput, Totals
from pipelines.recipes.annotate import AnnotateFilters, AnnotateRecipe, AnnotateRun, ChunkOptions, EngineOptions
from pipelines.verify.run import verify
from schemas.errors import ShardloomError, UsageError
from schemas.output_set.layout import read_manifests
from schemas.output_set.manifest import seal
from schemas.storage.folder import Folder
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.drivers import NO_TOKEN, Driver, cluster_of, hashes, without_progress
from tests.pipelines.support.hostile import draw_hostile_images, write_damaged_tars

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("own_engines")]

NO_FILTERS = AnnotateFilters(min_side=None, max_aspect=None)


def recipe(
    images: str, engine: str = "PixelOcr", *, run: AnnotateRun | None = None, **options: object
) -> AnnotateRecipe:
    """One worker where their number is not the point: each takes seconds to start."""
    spec = {"engine": engine, "settings": options.pop("settings", {})} | options.pop("spec", {})  # type: ignore[operator]
    engines = {"ocr": EngineOptions.model_validate(spec)}
    values = {"chunk": ChunkOptions(samples=8), "filters": NO_FILTERS} | options
    return AnnotateRecipe(input=[images], engines=engines, run=run or AnnotateRun(workers=1), **values)  # type: ignore[arg-type]


def rows(output: Path, folder: str) -> list[dict[str, object]]:
    return [row for path in sorted((output / folder).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_progress_and_time_left_come_before_the_first_commit(
    make_shards: Callable[..., str], tmp_path: Path, shown: list[str]
) -> None:
    """A shard is one chunk here, eight seconds long, of which batches are all that is seen."""
    images = make_shards(tmp_path / "images", shards=1, samples=16)
    slow = recipe(images, settings={"seconds": 0.5}, spec={"batch_size": 1}, chunk=ChunkOptions(samples=16))
    annotate(slow, str(tmp_path / "out"))
    said = re.compile(r"annotate: (\d+)%, (\d+) images, \d+\.\d/s, 0:00:\d\d left")
    seen = [(int(found[1]), int(found[2])) for line in shown if (found := said.fullmatch(line))]
    assert len({images for _, images in seen}) >= 2, shown
    assert seen == sorted(seen)
    assert all(0 < percent < 100 and 0 < images < 16 for percent, images in seen[:-1]), seen
    assert any(line.startswith("annotate: 0%, waiting for the first batch of ocr") for line in shown), shown


def test_drawn_shards_are_accounted_for(tmp_path: Path) -> None:
    """Among their pictures are an error page and one that is cut short."""
    write_shards(Folder(str(tmp_path / "images")), count=20, per_shard=8)
    totals = annotate(recipe(f"{tmp_path}/images/*.tar", run=AnnotateRun(workers=2)), str(tmp_path / "out"))
    assert (totals.rows_in, totals.rows_out) == (20, 18)
    assert totals.reasons == {"not_an_image": 1, "decode_error": 1}
    manifests = read_manifests(Folder(str(tmp_path / "out")))
    assert {name: (manifest.rows_in, manifest.rows_out) for name, manifest in manifests.items()} == {
        "00000000": (8, 6),
        "00000001": (8, 8),
        "00000002": (4, 4),
    }
    assert verify(str(tmp_path / "out")) == (3, [])
    assert not list((tmp_path / "out").rglob("*.tmp-*"))
    assert not (tmp_path / "out/parts").exists()


def test_workers_and_order_do_not_change_a_byte(make_shards: Callable[..., str], tmp_path: Path) -> None:
    images = make_shards(tmp_path / "images", shards=3, samples=20)
    outputs = []
    for workers in (1, 2):
        output = tmp_path / f"out{workers}"
        annotate(recipe(images, run=AnnotateRun(workers=workers)), str(output))
        outputs.append(hashes(output))
    assert outputs[0] == outputs[1]
    keys = [row["key"] for row in rows(output, "data")]
    assert keys == [f"{shard * 10_000 + number:012d}" for shard in range(3) for number in range(20)], "of the shards"
    loaded = load_dataset(str(output), split="train", cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == rows(output, "data")
    assert {name.split("/")[0] for name in outputs[0]} == {
        "data",
        "quarantine",
        "manifests",
        "recipe.yaml",
        "README.md",
    }


def test_hostile_files_cost_no_neighbour(tmp_path: Path) -> None:
    hostile = draw_hostile_images()
    images = [image for number, each in enumerate(hostile) for image in (jpeg(number), each.data)]
    write_shard(tmp_path / "00000000.tar", images)
    totals = annotate(recipe(f"{tmp_path}/*.tar"), str(tmp_path / "out"))
    assert totals.rows_in == 2 * len(hostile)
    keys = [f"{number:012d}" for number in range(totals.rows_in)]
    expected = {key: each.reason for key, each in zip(keys[1::2], hostile, strict=True) if each.reason}
    assert {row["key"]: row["reason"] for row in rows(tmp_path / "out", "quarantine")} == expected
    assert [row["key"] for row in rows(tmp_path / "out", "data")] == [key for key in keys if key not in expected]


def test_damaged_archives_are_found_out(tmp_path: Path) -> None:
    write_shard(tmp_path / "sound.tar", [jpeg(number) for number in range(8)])
    write_damaged_tars(tmp_path / "in", (tmp_path / "sound.tar").read_bytes())
    output = str(tmp_path / "out")
    with pytest.raises(DamagedInput, match="2 shards are damaged"):
        annotate(recipe(f"{tmp_path}/in/*.tar"), output)
    manifests = read_manifests(Folder(output))
    assert "ends inside the member" in manifests["cut"].damage[0]
    assert "no sound header" in manifests["bad_header"].damage[0]
    found = {name: (manifest.rows_in, manifest.rows_out) for name, manifest in manifests.items()}
    assert found == {"bad_header": (8, 6), "compressed": (3, 0), "cut": (5, 4)}, "all but those beside the damage"
    assert manifests["compressed"].reasons == {"missing_image": 3}
    allowed = recipe(f"{tmp_path}/in/*.tar", run=AnnotateRun(workers=1, allow_damaged=True))
    assert annotate(allowed, output).rows_in == 16
    assert verify(output) == (3, [])


def test_a_tar_shorter_than_its_side_parquet_is_damaged(tmp_path: Path) -> None:
    write_shards(Folder(str(tmp_path)), count=12, per_shard=6)
    (tmp_path / "00000001.parquet").replace(tmp_path / "00000000.parquet")
    with pytest.raises(DamagedInput, match=r"6 samples that 00000000\.parquet lists are not in the tar"):
        annotate(recipe(f"{tmp_path}/00000000.tar"), str(tmp_path / "out"))


def killer_shard(folder: Path, killers: set[int], samples: int = 20) -> None:
    """A shard in which the samples at these places are 80 pixels wide, the others 64."""
    write_shard(folder / "00000000.tar", [jpeg(n, width=80 if n in killers else 64) for n in range(samples)])


@pytest.mark.parametrize(
    ("killers", "batch_size"), [([5], 2), pytest.param([5, 13], 16, marks=pytest.mark.slow)], ids=["one", "two"]
)
def test_samples_that_kill_their_worker_are_quarantined(tmp_path: Path, killers: list[int], batch_size: int) -> None:
    """A worker takes seconds to start: a batch of two is halved once, one of eight three times."""
    killer_shard(tmp_path, {*killers})
    run, spec = AnnotateRun(workers=2), {"batch_size": batch_size}
    asked = recipe(f"{tmp_path}/*.tar", "KillerOcr", settings={"width": 80}, spec=spec, run=run)
    totals = annotate(asked, str(tmp_path / "out"))
    assert totals.reasons == {"worker_killed": len(killers)}
    assert [row["key"] for row in rows(tmp_path / "out", "quarantine")] == [f"{n:012d}" for n in killers]
    assert totals.rows_out == 20 - len(killers)


def test_an_engine_error_costs_one_image(tmp_path: Path) -> None:
    killer_shard(tmp_path, {5})
    totals = annotate(recipe(f"{tmp_path}/*.tar", "FailingOcr", settings={"width": 80}), str(tmp_path / "out"))
    assert totals.reasons == {"engine_error": 1}
    assert rows(tmp_path / "out", "quarantine")[0]["detail"] == "RuntimeError: the engine's own message"


def test_batches_shrink_where_memory_is_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killer_shard(tmp_path, {5})
    totals = annotate(recipe(f"{tmp_path}/*.tar", "HungryOcr", settings={"width": 80}), str(tmp_path / "out"))
    assert totals.reasons == {"engine_error": 1}
    assert rows(tmp_path / "out", "quarantine")[0]["detail"] == (
        "GpuMemoryError: the image does not fit the GPU's memory: "
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    )
    said = [line for line in capsys.readouterr().err.splitlines() if "out of memory" in line]
    sizes = ["2 images", "one image"]
    assert sorted(said) == [f"ocr: out of memory: a worker computes {size} at a time from here on" for size in sizes]
    annotate(recipe(f"{tmp_path}/*.tar", "FailingOcr", settings={"width": 80}), str(tmp_path / "ample"))
    assert rows(tmp_path / "out", "data") == rows(tmp_path / "ample", "data"), "the same annotations"


def test_a_broken_engine_stops_the_run(tmp_path: Path) -> None:
    killer_shard(tmp_path, set(), samples=24)
    with pytest.raises(ShardloomError, match="the ocr engine failed on"):
        annotate(recipe(f"{tmp_path}/*.tar", "FailingOcr", settings={"width": 0}), str(tmp_path / "out"))


def test_another_engine_may_not_go_on(make_shards: Callable[..., str], tmp_path: Path) -> None:
    make_shards(tmp_path / "images", shards=1)
    annotate(recipe(f"{tmp_path}/images/*.tar"), str(tmp_path / "out"))
    make_shards(tmp_path / "images", shards=2)
    with pytest.raises(UsageError, match=r"engines\.ocr\.engine is .*PixelOcr.* there and .*HangingOcr.* here"):
        annotate(recipe(f"{tmp_path}/images/*.tar", "HangingOcr"), str(tmp_path / "out"))
    manifest = tmp_path / "out/manifests/00000000.json"
    other = manifest.read_text().replace('"version": "1"', '"version": "0"')
    values = json.loads(other)
    values.pop("seal")
    manifest.write_bytes(seal(values))
    with pytest.raises(UsageError, match=r"started with another ocr engine .version was '0', is '1'"):
        annotate(recipe(f"{tmp_path}/images/*.tar"), str(tmp_path / "out"))


def test_repeated_images_never_reach_the_engine(tmp_path: Path) -> None:
    log = tmp_path / "calls.log"
    write_shard(tmp_path / "00000000.tar", [jpeg(n) for n in (1, 2, 1, 3)])
    write_shard(tmp_path / "00000001.tar", [jpeg(n) for n in (4, 2, 5)], first=10_000)
    filters = AnnotateFilters(min_side=None, max_aspect=None, repeated_images=True)
    asked = recipe(f"{tmp_path}/*.tar", filters=filters, settings={"log": str(log)})
    assert annotate(asked, str(tmp_path / "out")).reasons == {"repeated_image": 2}
    assert [row["key"] for row in rows(tmp_path / "out", "quarantine")] == ["000000000002", "000000010001"]
    assert len(log.read_text().splitlines()) == 5


def test_filters_leave_out_with_a_reason(tmp_path: Path) -> None:
    strip = io.BytesIO()
    Image.fromarray(np.zeros((40, 2400, 3), np.uint8)).save(strip, "PNG")
    write_shard(tmp_path / "00000000.tar", [jpeg(1), jpeg(2, width=64, height=8), strip.getvalue()])
    totals = annotate(recipe(f"{tmp_path}/*.tar", filters=AnnotateFilters(min_side=16)), str(tmp_path / "out"))
    assert totals.reasons == {"too_small": 1, "extreme_aspect": 1}


@pytest.mark.slow  # below is another stall that ends a run; `test_graph_watch` has the sentences on stages
def test_a_run_that_hangs_names_its_stage(make_shards: Callable[..., str], tmp_path: Path) -> None:
    driver = Driver(tmp_path, make_shards(tmp_path / "images", shards=1), "HangingOcr", stall_seconds=15)
    finished = driver.run()
    assert finished.returncode == 1
    line = (
        r"error: no progress for \d+ s: stage ocr has been working on shard-chunk 00000000/\d, samples \d+ to \d+; .*"
    )
    assert re.fullmatch(line, finished.stderr.splitlines()[-1]), finished.stderr


def test_a_stage_that_cannot_get_its_cpus_is_named(make_shards: Callable[..., str], tmp_path: Path) -> None:
    images = make_shards(tmp_path / "images", shards=1)
    with cluster_of(cpus=2) as address:
        finished = Driver(tmp_path / "two", images, address=address).run()
        assert finished.returncode == 2
        line = r"error: stage ocr asks for 2 workers of 1 CPUs .*: lower workers or min in run\.resources\n"
        assert re.fullmatch(line, without_progress(finished.stderr)), finished.stderr
        command, environment = [sys.executable, "-c", HOLDER, address], os.environ | NO_TOKEN
        with subprocess.Popen(command, env=environment, stdin=PIPE, stdout=PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "holding\n"
            finished = Driver(tmp_path / "one", images, address=address, workers=1, stall_seconds=4).run()
            holder.kill()
        assert finished.returncode == 1
        assert "no worker of stage ocr has started" in finished.stderr
        assert finished.stderr.splitlines()[-1].startswith("error: ")


HOLDER = """
import ray, sys

class Holder:
    def hold(self):
        return "holding"

ray.init(address=sys.argv[1], log_to_driver=False)
holder = ray.remote(num_cpus=1.5)(Holder).remote()
print(ray.get(holder.hold.remote()), flush=True)
sys.stdin.read()
"""
"""Another job, which holds the cluster's cores."""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 16])
def test_default_settings_never_starve(make_shards: Callable[..., str], tmp_path: Path, workers: int) -> None:
    """On one core, and with the workers that a machine of 16 cores would start."""
    driver = Driver(tmp_path, make_shards(tmp_path / "images", shards=2), workers=workers)
    finished = driver.run()
    assert finished.returncode == 0, finished.stderr
    assert driver.calls() == 40


def test_an_empty_shard_is_a_shard(tmp_path: Path) -> None:
    write_shard(tmp_path / "00000000.tar", [])
    totals: Totals = annotate(recipe(f"{tmp_path}/*.tar"), str(tmp_path / "out"))
    assert (totals.outputs, totals.rows_in) == (1, 0)
    assert verify(str(tmp_path / "out")) == (1, [])
