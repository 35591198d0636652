"""Follows a running graph: forwards its results, shows progress and ends a stalled run."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray

from pipelines import GRAPH_THREAD
from pipelines.cluster.capacity import ResourceRequest, describe_shortfall, list_cluster_nodes
from pipelines.cluster.connection import translate_error
from pipelines.cluster.ledger import Snapshot
from schemas.errors import ShardloomError, UsageError

TICK_SECONDS = 1.0
STALL_NOTE_SHARE = 1 / 3  # of `stall_seconds`: a stage without progress for longer is named, and the run continues
STOP_SECONDS = 10.0  # for the graph to notice that it must stop; a stalled graph never does
_END = object()


def follow(
    rows: Callable[[], Iterator[pa.Table]],
    ledger: ray.actor.ActorHandle,
    requests: Sequence[ResourceRequest],
    stall_seconds: float,
    on_tick: Callable[[Snapshot], None],
) -> Generator[pa.Table, None, None]:
    """Yields the graph's results as they arrive. Raises `ShardloomError` when the graph fails or stalls.

    A separate thread consumes the graph, because waiting for Ray can't be interrupted: so a stall is detected even when
    Ray itself waits for ever.
    """
    results: queue.Queue[Any] = queue.Queue()
    stop = threading.Event()

    def consume() -> None:
        try:
            for row in rows():
                results.put(row)
                if stop.is_set():
                    return  # leaving the loop drops the iterator, upon which Ray Data ends the execution
            results.put(_END)
        except BaseException as error:  # noqa: BLE001  raised in the waiting thread
            results.put(error)

    graph = threading.Thread(target=consume, daemon=True, name=GRAPH_THREAD)
    graph.start()
    try:
        yield from _iterate_results(results, ledger, requests, stall_seconds, on_tick)
    finally:
        stop.set()
        graph.join(timeout=STOP_SECONDS)


def _iterate_results(
    results: "queue.Queue[Any]",
    ledger: ray.actor.ActorHandle,
    requests: Sequence[ResourceRequest],
    stall_seconds: float,
    on_tick: Callable[[Snapshot], None],
) -> Iterator[pa.Table]:
    last = looked = time.monotonic()
    nodes = len(list_cluster_nodes())
    while True:
        try:
            result = results.get(timeout=TICK_SECONDS)
        except queue.Empty:
            result = None
        if result is _END:
            return
        if isinstance(result, BaseException):
            raise translate_error(result) from None
        if result is not None:
            yield result
            last = time.monotonic()
        if time.monotonic() - looked >= TICK_SECONDS:  # not for every chunk: a snapshot takes longer than a commit
            snapshot = _take_snapshot(ledger, stall_seconds)
            on_tick(snapshot)
            looked = time.monotonic()
            idle = min(
                snapshot.seconds_since_heartbeat, looked - last
            )  # chunks done in an earlier run bypass the ledger
            if idle > stall_seconds:
                raise ShardloomError(explain_stall(snapshot, idle, _describe_lost_capacity(requests, nodes)))


def _take_snapshot(ledger: ray.actor.ActorHandle, timeout: float) -> Snapshot:
    try:
        snapshot: Snapshot = ray.get(ledger.snapshot.remote(), timeout=timeout)
    except ray.exceptions.RayError as error:
        if isinstance(fault := translate_error(error), UsageError):
            raise fault from None
        raise ShardloomError(f"the run's ledger does not answer: {type(error).__name__}") from None
    return snapshot


def _describe_lost_capacity(requests: Sequence[ResourceRequest], before: int) -> str | None:
    """Returns which nodes the cluster has lost since it had `before`, and which requests no longer fit; else None."""
    nodes = list_cluster_nodes()
    gone = f"{before - len(nodes)} of {before} nodes are lost" if len(nodes) < before else None
    return "; ".join(filter(None, (gone, describe_shortfall(requests, nodes)))) or None


def find_stalled_stage(snapshot: Snapshot, seconds: float) -> str | None:
    """Returns the last stage that has work and has made no progress for `seconds`; None if there is none.

    The last, because stages before a hanging stage can't pass on their chunks: they wait with chunks in their queues,
    but with none in progress.
    """
    is_held_up = False
    for stage, state in reversed(snapshot.states.items()):
        if state.seconds_since_progress >= seconds and (state.at_work or (state.queued and not is_held_up)):
            return stage
        is_held_up = is_held_up or state.at_work + state.queued > 0
    return None


def describe_start(snapshot: Snapshot) -> str:
    """Names what a run waits for before its first images are done; empty from then on."""
    if waiting := [stage for stage, counts in snapshot.stages.items() if not counts.workers]:
        return f"starting workers of {', '.join(waiting)}, which load their weights"
    stages = list(snapshot.stages)
    return "" if snapshot.stages[stages[-1]].images else f"waiting for the first batch of {stages[-1]}"


def describe_stalled_stage(snapshot: Snapshot, stall_seconds: float) -> str:
    """Names the stage that holds up the run, long before the stall ends it; empty while there is none."""
    stage = find_stalled_stage(snapshot, STALL_NOTE_SHARE * stall_seconds)
    if stage is None or not snapshot.stages[stage].workers:  # the progress already names stages that start
        return ""
    return f"no progress of stage {stage} for {snapshot.states[stage].seconds_since_progress:.0f} s"


def explain_stall(snapshot: Snapshot, idle_seconds: float, shortfall: str | None) -> str:
    """Explains what a stalled run waits for.

    `shortfall` is what its cluster has lost, from `_describe_lost_capacity`.
    """
    where = _locate_stall(snapshot) + (f"; {shortfall}" if shortfall else "")
    return f"no progress for {idle_seconds:.0f} s: {where}; what is done is kept; the same command resumes the run"


def _locate_stall(snapshot: Snapshot) -> str:
    stage = find_stalled_stage(snapshot, 0)
    if stage is not None and snapshot.states[stage].at_work:
        return f"stage {stage} has been working on {snapshot.states[stage].longest_chunk}"
    for missing in [stage] if stage is not None else snapshot.stages:
        if snapshot.stages[missing].workers == 0:
            return f"no worker of stage {missing} has started (are there CPUs and GPUs left on the cluster?)"
    if stage is not None:
        return f"stage {stage} starts none of its {snapshot.states[stage].queued} queued chunks"
    return f"stage {next(iter(snapshot.stages))} waits for shards to be read"
