"""Follows a running graph: forwards its results, shows progress and ends a stalled run."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray

from pipelines import GRAPH_THREAD
from pipelines.cluster.capacity import Request, cluster_nodes, lacking
from pipelines.cluster.connection import explained
from pipelines.cluster.ledger import Snapshot
from schemas.errors import ShardloomError, UsageError

TICK_SECONDS = 1.0
NOTE_SHARE = 1 / 3  # of `stall_seconds`: a stage without progress for longer is named, and the run continues
STOP_SECONDS = 10.0  # for the graph to notice that it must stop; a stalled graph never does
_END = object()


def follow(
    rows: Callable[[], Iterator[pa.Table]],
    ledger: ray.actor.ActorHandle,
    requests: Sequence[Request],
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
        yield from _results(results, ledger, requests, stall_seconds, on_tick)
    finally:
        stop.set()
        graph.join(timeout=STOP_SECONDS)


def _results(
    results: "queue.Queue[Any]",
    ledger: ray.actor.ActorHandle,
    requests: Sequence[Request],
    stall_seconds: float,
    on_tick: Callable[[Snapshot], None],
) -> Iterator[pa.Table]:
    last = looked = time.monotonic()
    nodes = len(cluster_nodes())
    while True:
        try:
            result = results.get(timeout=TICK_SECONDS)
        except queue.Empty:
            result = None
        if result is _END:
            return
        if isinstance(result, BaseException):
            raise explained(result) from None
        if result is not None:
            yield result
            last = time.monotonic()
        if time.monotonic() - looked >= TICK_SECONDS:  # not for every chunk: a snapshot takes longer than a commit
            snapshot = _snapshot(ledger, stall_seconds)
            on_tick(snapshot)
            looked = time.monotonic()
            idle = min(snapshot.idle_seconds, looked - last)  # chunks done in an earlier run bypass the ledger
            if idle > stall_seconds:
                raise ShardloomError(halt(snapshot, idle, _lacks(requests, nodes)))


def _snapshot(ledger: ray.actor.ActorHandle, patience: float) -> Snapshot:
    try:
        snapshot: Snapshot = ray.get(ledger.snapshot.remote(), timeout=patience)
    except ray.exceptions.RayError as error:
        if isinstance(fault := explained(error), UsageError):
            raise fault from None
        raise ShardloomError(f"the run's ledger does not answer: {type(error).__name__}") from None
    return snapshot


def _lacks(requests: Sequence[Request], before: int) -> str | None:
    """Returns which nodes the cluster has lost since it had `before`, and which requests no longer fit; else None."""
    nodes = cluster_nodes()
    gone = f"{before - len(nodes)} of {before} nodes are lost" if len(nodes) < before else None
    return "; ".join(filter(None, (gone, lacking(requests, nodes)))) or None


def stuck(snapshot: Snapshot, seconds: float) -> str | None:
    """Returns the last stage that has work and has made no progress for `seconds`; None if there is none.

    The last, because stages before a hanging stage can't pass on their chunks: they wait with chunks in their queues,
    but with none in progress.
    """
    is_held_up = False
    for stage, state in reversed(snapshot.states.items()):
        if state.still_seconds >= seconds and (state.at_work or (state.queued and not is_held_up)):
            return stage
        is_held_up = is_held_up or state.at_work + state.queued > 0
    return None


def note(snapshot: Snapshot, stall_seconds: float) -> str:
    """Names the stage that holds up the run, long before the stall ends it; empty while there is none."""
    stage = stuck(snapshot, NOTE_SHARE * stall_seconds)
    if stage is None or not snapshot.stages[stage].workers:  # the progress already names stages that start
        return ""
    return f"no progress of stage {stage} for {snapshot.states[stage].still_seconds:.0f} s"


def halt(snapshot: Snapshot, idle: float, lacks: str | None) -> str:
    """Explains what a stalled run waits for. `lacks` is what its cluster has lost, from `_lacks`."""
    where = _where(snapshot) + (f"; {lacks}" if lacks else "")
    return f"no progress for {idle:.0f} s: {where}; what is done is kept; the same command resumes the run"


def _where(snapshot: Snapshot) -> str:
    stage = stuck(snapshot, 0)
    if stage is not None and snapshot.states[stage].at_work:
        return f"stage {stage} has been working on {snapshot.states[stage].longest}"
    for missing in [stage] if stage is not None else snapshot.stages:
        if snapshot.stages[missing].workers == 0:
            return f"no worker of stage {missing} has started (are there CPUs and GPUs left on the cluster?)"
    if stage is not None:
        return f"stage {stage} starts none of its {snapshot.states[stage].queued} queued chunks"
    return f"stage {next(iter(snapshot.stages))} waits for shards to be read"
