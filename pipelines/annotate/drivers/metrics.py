"""Exports the metrics of an annotation run to Prometheus."""

from pipelines.cluster.ledger import Snapshot
from pipelines.cluster.prometheus import (
    BYTES,
    COUNT_METRICS,
    ENGINE_ERRORS,
    REQUESTS_RETRIED,
    ROWS,
    SHARDS,
    STATE_METRICS,
    Exporter,
)
from pipelines.output.totals import RunTimes


def export_run_metrics(exporter: Exporter, snapshot: Snapshot, times: RunTimes) -> None:
    """Exports all counters and gauges of a run, except the shards and bytes that are left."""
    for stage, counts in snapshot.stages.items():
        for name, metric in COUNT_METRICS.items():
            exporter.export(metric, getattr(counts, name), stage)
    for stage, state in snapshot.states.items():
        for name, metric in STATE_METRICS.items():
            exporter.export(metric, getattr(state, name), stage)
    for outcome, rows in times.rows.items():
        exporter.export(ROWS, rows, outcome)
    for engine, errors in times.engine_errors.items():
        exporter.export(ENGINE_ERRORS, errors, engine)
    exporter.export(BYTES, times.bytes)
    exporter.export(SHARDS, times.shards)
    exporter.export(REQUESTS_RETRIED, times.resent)
