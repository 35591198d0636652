"""Commands as Ray jobs on a running cluster that asks for its token: the laptop's bytes, and a status that tells."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.demo.shards import write_shards
from pipelines.verify.run import verify
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from schemas.storage.options import OPTIONS_VARIABLE
from tests.pipelines.support.drivers import Driver, hashes, wait_until
from tests.pipelines.support.jobs import Jobs, job_cluster
from tests.pipelines.support.sets import annotation_set, shardloom

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.slow]

SAMPLES = 6  # in each of two drawn shards: real engines read two a second
CHUNK, WORKERS = 4, 2
ENGINES = {
    "ocr": {"engine": "rapidocr"},
    "tags": {"engine": "caption"},
    "boxes": {"engine": "grounding_dino", "settings": {"allow_out_of_vocabulary": True}},
}
NO_WEIGHTS = {"ocr": {"engine": "rapidocr", "settings": {"weights": "/nowhere"}}}
NO_ROOM = {"resources": {"ocr": {"gpus": 1}}}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What test engines write their calls to."""
    return tmp_path_factory.mktemp("calls") / "calls.log"


@pytest.fixture(scope="module")
def jobs(log: Path) -> Iterator[Jobs]:
    with job_cluster(cpus=4, CALL_LOG=str(log)) as running:
        yield running


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("images")
    write_shards(Folder(str(folder)), 2 * SAMPLES, SAMPLES)
    return f"{folder}/*.tar"


def test_ocr_tags_and_boxes(jobs: Jobs, images: str, tmp_path: Path) -> None:
    laptop, job = (Driver(tmp_path / name, images, engines=ENGINES, chunk=3) for name in ("laptop", "job"))
    finished = laptop.run()
    assert finished.returncode == 0, finished.stderr
    done = jobs.submit("whole", "pipelines.annotate", *job.arguments)
    assert (done.returncode, jobs.status("whole")) == (0, "SUCCEEDED"), done.stdout
    assert f"{job.output}: 12 rows in, 10 out, 2 quarantined (1 not_an_image, 1 decode_error)\n" in jobs.log("whole")
    assert verify(str(job.output)) == (2, [])
    assert hashes(job.output) == hashes(laptop.output)


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("key", {"ocr": {}}, r"error: recipe \S*recipe\.yaml: unknown key ocr"),
        (
            "weights",
            {"engines": NO_WEIGHTS},
            r"error: rapidocr: no folder /nowhere; pass weights=FOLDER with .*",
        ),
        (
            "room",
            {"run": NO_ROOM},
            r"error: stage ocr asks for 3 workers of 1 CPUs and 1 GPUs, but .* capacity for 0; .*",
        ),
    ],
)
def test_what_fails_says_so_in_one_line(
    jobs: Jobs, images: str, tmp_path: Path, name: str, change: dict[str, dict[str, object]], line: str
) -> None:
    job = Driver(tmp_path, images, workers=3)
    recipe = yaml.safe_load(job.recipe.read_text())
    for half, values in change.items():
        recipe[half] = recipe.get(half, {}) | values
    job.recipe.write_text(yaml.safe_dump(recipe))
    done = jobs.submit(name, "pipelines.annotate", *job.arguments)
    assert (done.returncode, jobs.status(name)) == (1, "FAILED")
    printed = jobs.log(name)
    assert re.fullmatch(line, printed.splitlines()[-1]), printed
    assert "Traceback" not in printed


def test_a_stopped_job_goes_on(jobs: Jobs, log: Path, make_shards: Callable[..., str], tmp_path: Path) -> None:
    images = make_shards(tmp_path / "images", shards=3, samples=20)
    options = {"engine": "PlacedOcr", "chunk": CHUNK, "workers": WORKERS}
    laptop, job = (Driver(tmp_path / name, images, **options) for name in ("laptop", "job"))  # type: ignore[arg-type]
    assert laptop.run().returncode == 0
    command = ("pipelines.annotate", *job.arguments)
    jobs.submit("stopped", *command, wait=False, CALL_SECONDS="0.5")
    wait_until(lambda: re.search(r"^annotate: \d+%, \d+ images, [\d.]+/s", jobs.log("stopped"), re.M) is not None)
    wait_until(lambda: len(read_manifests(Folder(str(job.output)))) >= 1)
    stop = jobs.ray("stop", "stopped")
    assert (stop.returncode, jobs.status("stopped")) == (0, "STOPPED"), stop.stdout
    assert jobs.log("stopped").splitlines()[-1] == "stopped: finished work is kept; the same command resumes the run"
    workers = {int(line.split(" ")[1]) for line in log.read_text().splitlines()}
    wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    kept = {
        lines[0]["text"] for path in (job.output / "data").iterdir() for lines in pq.read_table(path)["ocr"].to_pylist()
    }
    done = jobs.submit("resumed", *command)
    assert (done.returncode, jobs.status("resumed")) == (0, "SUCCEEDED"), done.stdout
    assert hashes(job.output) == hashes(laptop.output)
    calls = Counter(line.split(" ")[0] for line in log.read_text().splitlines())
    assert kept
    assert {calls[image] for image in kept} == {1}, "what is committed is not done again"
    assert 0 < calls.total() - 60 <= WORKERS * CHUNK, "no more than what each worker was working on"


def test_storage_options_come_with_the_job(jobs: Jobs, make_shards: Callable[..., str], tmp_path: Path) -> None:
    """They are handed on to the workers, and are not printed."""
    job = Driver(tmp_path, make_shards(tmp_path / "images", shards=1, samples=4))
    secret = {OPTIONS_VARIABLE: json.dumps({"secret": "0123-4567"})}
    done = jobs.submit("options", "pipelines.annotate", *job.arguments, **secret)
    assert (done.returncode, jobs.status("options")) == (0, "SUCCEEDED"), done.stdout
    assert "0123-4567" not in jobs.log("options")


def test_other_commands_are_jobs(jobs: Jobs, make_shards: Callable[..., str], tmp_path: Path) -> None:
    images = make_shards(tmp_path / "images", shards=3, samples=8)
    annotations = annotation_set(images, tmp_path / "annotations")
    mixture = {"kind": "mix", "sources": {"plain": f"{tmp_path}/laptop-ingest"}, "weights": {"plain": 1}}
    (tmp_path / "mix.yaml").write_text(yaml.safe_dump(mixture))
    captions = f"{tmp_path}/laptop-render"
    commands = {
        "render": ["ocr", str(annotations)],
        "shard": ["--images", images, "--captions", captions, "--samples-per-shard", "5"],
        "ingest": ["datacomp", "--input", images, "--samples-per-shard", "5"],
        "mix": [f"{tmp_path}/mix.yaml", "--samples-per-shard", "5"],
    }
    for name, arguments in commands.items():
        alone, job = tmp_path / f"laptop-{name}", tmp_path / f"job-{name}"
        finished = shardloom(name, *arguments, "--output", alone, "--workers", "1")
        assert finished.returncode == 0, finished.stderr
        done = jobs.submit(name, f"pipelines.{name}", *arguments, "--output", str(job), "--workers", "2")
        assert (done.returncode, jobs.status(name)) == (0, "SUCCEEDED"), done.stdout
        assert hashes(job) == hashes(alone)
        assert len(read_manifests(Folder(str(job)))) >= 3


def test_a_working_folder_with_a_package_of_our_name(jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "__init__.py").touch()
    flags = ["--submission-id", "shadowed", "--working-dir", str(tmp_path)]
    done = jobs.ray("submit", *flags, "--", "python", "-m", "pipelines.annotate", "recipe.yaml")
    assert (done.returncode, jobs.status("shadowed")) == (1, "FAILED"), done.stdout
    told = r"error: /\S+ has a `training` of its own, which Python finds before Shardloom's in \S+: rename it, or .*"
    assert re.fullmatch(told, jobs.log("shadowed").splitlines()[-1])
    assert "Traceback" not in jobs.log("shadowed")
