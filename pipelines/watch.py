"""Follows a running graph: hands on its results, shows progress, and ends a run that has come to a halt."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray

from pipelines import GRAPH_THREAD
from pipelines.cluster import explained
from pipelines.ledger import Snapshot
from pipelines.room import Request, cluster_nodes, lacking
from schemas.errors import ShardloomError

TICK_SECONDS = 1.0
STOP_SECONDS = 10.0  # for the graph to notice that it is no longer wanted; one at a halt never does
_END = object()


def follow(
    rows: Callable[[], Iterator[pa.Table]],
    ledger: ray.actor.ActorHandle,
    requests: Sequence[Request],
    stall_seconds: float,
    on_tick: Callable[[Snapshot], None],
) -> Generator[pa.Table, None, None]:
    """Results of the graph as they come. Raises `ShardloomError` when the graph fails or makes no progress.

    The graph is consumed in a thread of its own, because waiting for it can't be interrupted: this way a halt is seen
    even when Ray itself waits for ever (ray.md trap 1).
    """
    results: queue.Queue[Any] = queue.Queue()
    stop = threading.Event()

    def consume() -> None:
        try:
            for row in rows():
                results.put(row)
                if stop.is_set():
                    return  # leaving the loop drops the iterator, and with it Ray Data ends the execution
            results.put(_END)
        except BaseException as error:  # noqa: BLE001  handed to the thread that waits
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
    last = time.monotonic()
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
        if result is None or results.empty():
            snapshot = _snapshot(ledger, stall_seconds)
            on_tick(snapshot)
            idle = min(snapshot.idle_seconds, time.monotonic() - last)  # finished chunks pass unheard
            if idle > stall_seconds:
                raise ShardloomError(halt(snapshot, idle, lacking(requests, cluster_nodes())))


def _snapshot(ledger: ray.actor.ActorHandle, patience: float) -> Snapshot:
    try:
        snapshot: Snapshot = ray.get(ledger.snapshot.remote(), timeout=patience)
    except ray.exceptions.RayError as error:
        raise ShardloomError(f"the run's ledger does not answer: {type(error).__name__}") from None
    return snapshot


def halt(snapshot: Snapshot, idle: float, lacks: str | None) -> str:
    """What a run that makes no progress waits for: `lacks` is what its cluster has no room for any more."""
    if snapshot.at_work:
        stage, what = next(iter(snapshot.at_work.items()))
        where = f"stage {stage} has been at {what}"
    elif idle_stages := [stage for stage, counts in snapshot.stages.items() if not counts.workers]:
        where = f"no worker of stage {idle_stages[0]} has started (are there CPUs and GPUs left on the cluster?)"
    else:
        where = f"stage {next(iter(snapshot.stages))} waits for its input"
    where += f"; {lacks}" if lacks else ""
    return f"no progress for {idle:.0f} s: {where}; what is done is kept, the same command goes on"
