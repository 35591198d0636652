"""Exports the metrics of an annotation run to Prometheus."""

from pipelines.cluster.ledger import Snapshot
from pipelines.cluster.prometheus import BYTES, COUNTS, ENGINE_ERRORS, RESENT, ROWS, SHARDS, STATES, Exporter
from pipelines.output.totals import RunTimes


def tell_run(exporter: Exporter, snapshot: Snapshot, times: RunTimes) -> None:
    """Exports all counters and gauges of a run, except the shards and bytes that are left."""
    for stage, counts in snapshot.stages.items():
        for name, metric in COUNTS.items():
            exporter.tell(metric, getattr(counts, name), stage)
    for stage, state in snapshot.states.items():
        for name, metric in STATES.items():
            exporter.tell(metric, getattr(state, name), stage)
    for outcome, rows in times.rows.items():
        exporter.tell(ROWS, rows, outcome)
    for engine, errors in times.engine_errors.items():
        exporter.tell(ENGINE_ERRORS, errors, engine)
    exporter.tell(BYTES, times.bytes)
    exporter.tell(SHARDS, times.shards)
    exporter.tell(RESENT, times.resent)
