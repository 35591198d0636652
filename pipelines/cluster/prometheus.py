"""Exports the metrics of a run to Prometheus, through the endpoint that Ray has on every node of a cluster.

Only the driver exports, because it has the counts of all workers. So the number of series depends on the run's stages,
engines and outcomes, not on its workers. Ray forwards the values every ten seconds and when the driver ends. Afterwards
counters stay at the endpoint for as long as its node, and gauges for twenty seconds, so that a scrape every fifteen
seconds sees their last value. A local cluster exports nothing, because nobody scrapes it.

Counters start at 0 in every run. A resumed run has the same label, so that they add up.
"""

from dataclasses import dataclass
from typing import Any, Literal

from schemas.masking import mask_secrets

RUN_LABEL = "run"
"""The label that all metrics have: the output set's folder, in ASCII."""


@dataclass(frozen=True, slots=True)
class Metric:
    """Describes one metric: its name, kind, label and help text."""

    name: str
    kind: Literal["counter", "gauge"]
    label: str | None  # in addition to `run`
    description: str

    @property
    def exported_name(self) -> str:
        """Returns the name as Ray exports it to Prometheus."""
        return f"ray_{self.name}" + ("_total" if self.kind == "counter" else "")


COUNT_METRICS = {
    "images": Metric("shardloom_images", "counter", "stage", "images done"),
    "chunks": Metric("shardloom_chunks", "counter", "stage", "chunks done"),
    "busy_seconds": Metric("shardloom_busy_seconds", "counter", "stage", "busy time, summed over workers"),
    "deaths": Metric("shardloom_worker_deaths", "counter", "stage", "attempts at a chunk in which the worker died"),
    "recycled": Metric("shardloom_workers_recycled", "counter", "stage", "workers replaced by fresh ones"),
    "workers": Metric("shardloom_workers", "gauge", "stage", "workers that are ready or busy"),
}
"""The metrics of `StageCounts`, by field."""

STATE_METRICS = {
    "at_work": Metric("shardloom_chunks_at_work", "gauge", "stage", "chunks in progress"),
    "queued": Metric("shardloom_chunks_queued", "gauge", "stage", "chunks done by the previous stage, not yet started"),
    "seconds_since_progress": Metric(
        "shardloom_seconds_without_progress", "gauge", "stage", "time since its last progress, while it has work"
    ),
    "oldest_chunk_seconds": Metric(
        "shardloom_longest_chunk_seconds", "gauge", "stage", "time for which the oldest chunk has been in progress"
    ),
}
"""The metrics of `StageState`, by field."""

ROWS = Metric("shardloom_rows", "counter", "outcome", "samples annotated, or left out for this reason")
ENGINE_ERRORS = Metric("shardloom_engine_errors", "counter", "engine", "images that an engine failed on")
BYTES = Metric("shardloom_bytes", "counter", None, "bytes of samples worked on")
BYTES_LEFT = Metric("shardloom_bytes_left", "gauge", None, "bytes of samples still to come")
SHARDS = Metric("shardloom_shards", "counter", None, "shards committed")
SHARDS_LEFT = Metric("shardloom_shards_left", "gauge", None, "shards still to commit")
REQUESTS_RETRIED = Metric("shardloom_requests_resent", "counter", None, "retries of requests to the object store")
UNITS = Metric("shardloom_units", "counter", "stage", "units done by commands other than annotate")
UNITS_LEFT = Metric("shardloom_units_left", "gauge", "stage", "units of these still to come")

METRICS = [
    *COUNT_METRICS.values(),
    *STATE_METRICS.values(),
    *(ROWS, ENGINE_ERRORS, BYTES, BYTES_LEFT, SHARDS, SHARDS_LEFT, REQUESTS_RETRIED, UNITS, UNITS_LEFT),
]


class Exporter:
    """Exports the values of one run. It takes a counter's total, not its increment."""

    def __init__(self, output: str) -> None:
        self.run_label = (
            mask_secrets(output).encode("ascii", "backslashreplace").decode()
        )  # Ray accepts only ASCII in labels
        self._ray_metrics: dict[str, Any] = {}
        self._last_values: dict[tuple[Metric, str], float] = {}

    def export(self, metric: Metric, value: float, label_value: str = "") -> None:
        """Sets a metric's value. `label_value` names the stage, engine or outcome that its label is for."""
        tags = {RUN_LABEL: self.run_label} | ({metric.label: label_value} if metric.label else {})
        before, self._last_values[metric, label_value] = self._last_values.get((metric, label_value), 0), value
        if metric.kind == "gauge":
            self._get_ray_metric(metric).set(value, tags)
        elif more := value - before if value >= before else value:  # a restarted ledger counts from 0 again
            self._get_ray_metric(metric).inc(more, tags)

    def reset_stage_gauges(self) -> None:
        """Sets the gauges of all stages to 0 at the end of a run, because this process may continue."""
        for metric, of in list(self._last_values):
            if metric.kind == "gauge" and metric.label == "stage":
                self.export(metric, 0, of)

    def _get_ray_metric(self, metric: Metric) -> Any:
        if metric.name not in self._ray_metrics:
            from ray.util.metrics import Counter, Gauge

            kind = Counter if metric.kind == "counter" else Gauge
            keys = (RUN_LABEL, metric.label) if metric.label else (RUN_LABEL,)
            self._ray_metrics[metric.name] = kind(metric.name, metric.description, tag_keys=keys)
        return self._ray_metrics[metric.name]
