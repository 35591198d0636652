"""What a run on a cluster tells Prometheus, as Prometheus gets it, against what `stats.json` holds at the end."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from curation.engines.declaration import EngineDeclaration
from curation.engines.kinds import OCR
from curation.images.decode import RgbImage
from pipelines.cluster.prometheus import COUNT_METRICS, METRICS, ROWS, RUN_LABEL, SHARDS_LEFT, STATE_METRICS, Exporter
from pipelines.output.totals import read_times
from schemas.records.text_line import TextLine
from schemas.storage.folder import Folder
from tests.conftest import REPOSITORY, jpeg, write_shard
from tests.pipelines.support.drivers import NO_TOKEN, TIMEOUT, Driver, cluster_of, wait_until
from tests.pipelines.support.engines import FailingOcr, WidthSettings

EVERY_SECOND = {"RAY_metrics_report_interval_ms": "1000"}  # ten by default

UNITS = """
import sys
import ray
from pipelines.recipes.base import RunOptions
from pipelines.cluster.runner import Runner

def double(number):
    return 2 * number

assert sorted(Runner.open(RunOptions(address=sys.argv[1], output="units")).map(double, [1, 2, 3])) == [2, 4, 6]
print(ray.nodes()[0]["MetricsExportPort"])
"""
"""A command of another kind, which tells where the endpoint is as well."""


class MortalSettings(WidthSettings):
    """Of the engine below."""

    deadly: int
    marker: str


class MortalOcr(FailingOcr):
    """Fails on images of one width, and dies at one of another, but only once."""

    def __init__(self, settings: MortalSettings) -> None:
        super().__init__(settings)
        self.deadly, self.marker = settings.deadly, Path(settings.marker)

    def read(self, image: RgbImage) -> list[TextLine]:
        if image.shape[1] == self.deadly and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(image)


MORTAL_OCR = EngineDeclaration(name="MortalOcr", kind=OCR, settings=MortalSettings, make=MortalOcr)

Values = dict[tuple[str, ...], float]
"""Name as exported, run and, where there is one, stage, engine or outcome -> value."""


def scraped(port: str) -> Values:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    found: Values = {}
    labels = {metric.exported_name: [RUN_LABEL] + [metric.label] * (metric.label is not None) for metric in METRICS}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("ray_shardloom"):
                key = (sample.name, *(sample.labels[label or ""] for label in labels[sample.name]))
                found[key] = found.get(key, 0) + sample.value  # as `sum by` would: a series a driver
    return found


def mortal(tmp_path: Path, address: str) -> Driver:
    """Three shards of four: one is not an image, two are 80 pixels wide, and one, at which the worker dies, is 72."""
    (tmp_path / "images").mkdir()
    for shard in range(3):
        images = [jpeg(10 * shard + number) for number in range(4)]
        if shard == 1:
            images[:2] = [jpeg(1, width=72), jpeg(2, width=80)]
        if shard == 2:
            images[2:] = [jpeg(3, width=80), b"no image"]
        write_shard(tmp_path / f"images/{shard:08d}.tar", images, first=10 * shard)
    settings = {"width": 80, "deadly": 72, "marker": str(tmp_path / "has-died")}
    engines = {
        "ocr": {"engine": f"{__name__}:MORTAL_OCR", "settings": settings, "batch_size": 2},
        "tags": {"engine": "caption", "settings": {"vocabulary": str(tmp_path / "words.txt")}},
    }
    (tmp_path / "words.txt").write_text("picture\n")
    driver = Driver(tmp_path, f"{tmp_path}/images/*.tar", engines=engines, address=address, workers=1)
    driver.environment |= EVERY_SECOND | {"CALL_SECONDS": "0.4"}
    return driver


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_what_is_scraped_is_what_is_kept(tmp_path: Path) -> None:
    run = str(tmp_path / "out")
    gauges = {metric.exported_name for metric in METRICS if metric.kind == "gauge"}
    with cluster_of(cpus=3, **EVERY_SECOND) as address:
        port = units(address)
        process = mortal(tmp_path, address).start()
        seen: Values = {}

        def at_work() -> bool:
            for key, value in scraped(port).items():
                seen[key] = max(value, seen.get(key, 0))
            return process.poll() is not None

        wait_until(at_work)
        out, err = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, out + err
        last = scraped(port)
    times = read_times(Folder(run))
    assert times.rows == {"annotated": 11, "not_an_image": 1}
    assert (times.engine_errors, times.shards) == ({"ocr": 2}, 3)
    assert [counts["images"] for counts in times.stages.values()] == [12, 12, 12]
    assert times.stages["ocr"]["deaths"] == 1
    counters = {key: value for key, value in last.items() if key[0] not in gauges and key[1] == run}
    kept = {
        (metric.exported_name, run, stage): counts[name]
        for stage, counts in times.stages.items()
        for name, metric in COUNT_METRICS.items()
        if metric.kind == "counter" and counts[name]
    }
    kept |= {("ray_shardloom_rows_total", run, outcome): rows for outcome, rows in times.rows.items()}
    kept |= {("ray_shardloom_engine_errors_total", run, "ocr"): 2, ("ray_shardloom_shards_total", run): 3}
    kept |= {("ray_shardloom_bytes_total", run): times.bytes}
    assert counters == pytest.approx(kept)
    assert last["ray_shardloom_units_total", "units", "double"] == 3
    by_stage = {metric.exported_name for metric in METRICS if metric.kind == "gauge" and metric.label == "stage"}
    of_run = {key[0] for key in seen if key[1] == run}
    assert of_run >= gauges - {"ray_shardloom_units_left"}
    assert {seen[key] for key in seen if key[:2] == ("ray_shardloom_chunks_at_work", run)} == {0, 1}
    assert seen["ray_shardloom_shards_left", run] in (2, 3)
    assert not any(last[key] for key in last if key[0] in by_stage), "there are no workers any more"


def units(address: str) -> str:
    """Runs `UNITS`; the endpoint's port."""
    done = subprocess.run(
        [sys.executable, "-c", UNITS, address],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | NO_TOKEN | EVERY_SECOND,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("s3://bucket/Übung", r"s3://bucket/\xdcbung"),
        ('a "b"\\c\n{d}', 'a "b"\\c\n{d}'),
        ("half a character: \udc80", r"half a character: \udc80"),
        ("", ""),
    ],
)
def test_a_run_may_have_any_name(name: str, label: str) -> None:
    exporter = Exporter(name)
    exporter.export(ROWS, 3, "annotated")  # raises for a label that Ray doesn't take
    exporter.export(SHARDS_LEFT, 2)
    assert exporter.run_label == label


def test_names() -> None:
    names = [metric.exported_name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert all(name.startswith("ray_shardloom_") for name in names)
    assert {metric.label for metric in METRICS} == {"stage", "outcome", "engine", None}
    assert all(metric.label == "stage" for metric in [*COUNT_METRICS.values(), *STATE_METRICS.values()])
