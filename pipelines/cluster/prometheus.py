"""What a run on a cluster tells Prometheus, through the endpoint that Ray has on every node.

One process tells it all, the driver, which has the counts of all workers anyway: there are as many series as a run has
stages, engines and outcomes, however many workers it has. Ray sends them on every ten seconds and when the driver
ends. Then counters stay at the endpoint for as long as its node, and gauges for twenty seconds, so that a scrape every
fifteen sees the last of them. A cluster of our own has nobody who scrapes it, and gets none.

Counters begin at 0 with every run; a run that is taken up again has the same label, so that they add up.
"""

from dataclasses import dataclass
from typing import Any, Literal

from schemas.masking import masked

RUN = "run"
"""Label that all have: the output set's folder, in ASCII."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One name, and what its values are of."""

    name: str
    kind: Literal["counter", "gauge"]
    label: str | None  # beside `run`
    text: str

    @property
    def exported(self) -> str:
        """The name as Prometheus gets it from Ray."""
        return f"ray_{self.name}" + ("_total" if self.kind == "counter" else "")


COUNTS = {
    "images": Metric("shardloom_images", "counter", "stage", "images done"),
    "chunks": Metric("shardloom_chunks", "counter", "stage", "chunks done"),
    "busy_seconds": Metric("shardloom_busy_seconds", "counter", "stage", "time at work, added up over workers"),
    "deaths": Metric("shardloom_worker_deaths", "counter", "stage", "attempts at a chunk that ended with the worker's"),
    "recycled": Metric("shardloom_workers_recycled", "counter", "stage", "workers replaced by fresh ones"),
    "workers": Metric("shardloom_workers", "gauge", "stage", "workers that are ready or at work"),
}
"""By fields of `StageCounts`."""

STATES = {
    "at_work": Metric("shardloom_chunks_at_work", "gauge", "stage", "chunks that workers are at"),
    "queued": Metric("shardloom_chunks_queued", "gauge", "stage", "chunks done by the stage before and not yet begun"),
    "still_seconds": Metric(
        "shardloom_seconds_without_progress", "gauge", "stage", "since its last sign of progress, while it has work"
    ),
    "longest_seconds": Metric(
        "shardloom_longest_chunk_seconds", "gauge", "stage", "for which the oldest chunk has been at work"
    ),
}
"""By fields of `StageState`."""

ROWS = Metric("shardloom_rows", "counter", "outcome", "samples annotated, or left out for this reason")
ENGINE_ERRORS = Metric("shardloom_engine_errors", "counter", "engine", "images that an engine failed on")
BYTES = Metric("shardloom_bytes", "counter", None, "bytes of samples worked on")
BYTES_LEFT = Metric("shardloom_bytes_left", "gauge", None, "bytes of samples still to come")
SHARDS = Metric("shardloom_shards", "counter", None, "shards committed")
SHARDS_LEFT = Metric("shardloom_shards_left", "gauge", None, "shards still to commit")
RESENT = Metric("shardloom_requests_resent", "counter", None, "requests to the object store that were sent again")
UNITS = Metric("shardloom_units", "counter", "stage", "units done by any other command than annotate")
UNITS_LEFT = Metric("shardloom_units_left", "gauge", "stage", "units of these still to come")

METRICS = [
    *COUNTS.values(),
    *STATES.values(),
    *(ROWS, ENGINE_ERRORS, BYTES, BYTES_LEFT, SHARDS, SHARDS_LEFT, RESENT, UNITS, UNITS_LEFT),
]


class Exporter:
    """Tells the values of one run. Of a counter it is given what it stands at."""

    def __init__(self, output: str) -> None:
        self.run = masked(output).encode("ascii", "backslashreplace").decode()  # Ray takes no other letters in labels
        self._made: dict[str, Any] = {}
        self._told: dict[tuple[Metric, str], float] = {}

    def tell(self, metric: Metric, value: float, of: str = "") -> None:
        """The metric's value, of a stage, an engine or an outcome."""
        tags = {RUN: self.run} | ({metric.label: of} if metric.label else {})
        before, self._told[metric, of] = self._told.get((metric, of), 0), value
        if metric.kind == "gauge":
            self._of_ray(metric).set(value, tags)
        elif more := value - before if value >= before else value:  # a ledger that has died begins at 0 again
            self._of_ray(metric).inc(more, tags)

    def end(self) -> None:
        """There are no stages any more, though this process may go on."""
        for metric, of in list(self._told):
            if metric.kind == "gauge" and metric.label == "stage":
                self.tell(metric, 0, of)

    def _of_ray(self, metric: Metric) -> Any:
        if metric.name not in self._made:
            from ray.util.metrics import Counter, Gauge

            kind = Counter if metric.kind == "counter" else Gauge
            keys = (RUN, metric.label) if metric.label else (RUN,)
            self._made[metric.name] = kind(metric.name, metric.text, tag_keys=keys)
        return self._made[metric.name]
