"""Follows a running graph: forwards its results, and explains what it waits for and why it has stalled."""

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
STALL_NOTE_SHARE = 1 / 3  # of `stall_seconds`; after it, the progress line names the stage that holds up the run
LAST_EVENTS_SECONDS, LAST_EVENTS_POLL_SECONDS = 3.0, 0.05  # workers send theirs within a second, or as they end
STOP_SECONDS = 10.0  # to wait for the graph's thread to end; the thread of a stalled graph never ends
MAX_REASONS = 3  # for retries, of a stage in a line of progress
WORK_IS_KEPT = "finished work is kept; the same command resumes the run"
_END = object()


def follow(
    rows: Callable[[], Iterator[pa.Table]],
    ledger: ray.actor.ActorHandle,
    timeout: float,
    on_tick: Callable[[Snapshot, float], None],
) -> Generator[pa.Table, None, None]:
    """Yields the graph's results as they arrive. Raises `ShardloomError` when the graph fails.

    Every `TICK_SECONDS` it calls `on_tick` with the ledger's snapshot, which may take `timeout` seconds, and with the
    seconds since the last sign of progress. Waiting for Ray can't be interrupted, so a separate thread consumes the
    graph. The calling thread can then detect a stall even when Ray itself waits forever.
    """
    results: queue.Queue[Any] = queue.Queue()
    stop = threading.Event()

    def consume() -> None:
        try:
            for row in rows():
                results.put(row)
                if stop.is_set():
                    return  # returning drops the iterator, which makes Ray Data end the execution
            results.put(_END)
        except BaseException as error:  # noqa: BLE001  re-raised in the thread that takes the results
            results.put(error)

    graph = threading.Thread(target=consume, daemon=True, name=GRAPH_THREAD)
    graph.start()
    try:
        yield from _iterate_results(results, ledger, timeout, on_tick)
    finally:
        stop.set()
        graph.join(timeout=STOP_SECONDS)


def _iterate_results(
    results: "queue.Queue[Any]",
    ledger: ray.actor.ActorHandle,
    timeout: float,
    on_tick: Callable[[Snapshot, float], None],
) -> Iterator[pa.Table]:
    last_result = last_tick = time.monotonic()
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
            last_result = time.monotonic()
        if time.monotonic() - last_tick >= TICK_SECONDS:  # not for every chunk: a snapshot takes longer than a commit
            snapshot = _take_snapshot(ledger, timeout)
            last_tick = time.monotonic()
            # parts written by an earlier run arrive without a heartbeat, so results count as well
            on_tick(snapshot, min(snapshot.seconds_since_heartbeat, last_tick - last_result))


def _take_snapshot(ledger: ray.actor.ActorHandle, timeout: float) -> Snapshot:
    try:
        snapshot: Snapshot = ray.get(ledger.snapshot.remote(), timeout=timeout)
    except ray.exceptions.RayError as error:
        if isinstance(fault := translate_error(error), UsageError):
            raise fault from None
        raise ShardloomError(f"the run's ledger does not answer: {type(error).__name__}") from None
    return snapshot


def take_last_snapshot(ledger: ray.actor.ActorHandle, chunks: int) -> Snapshot:
    """Returns the snapshot of a graph that has ended with `chunks` chunks, once the workers' last events are in it.

    Waits up to `LAST_EVENTS_SECONDS`, which it takes where a worker or the ledger has died and lost some.
    """
    end = time.monotonic() + LAST_EVENTS_SECONDS
    while True:
        snapshot: Snapshot = ray.get(ledger.snapshot.remote())
        is_complete = all(counts.chunks >= chunks for counts in snapshot.stages.values())
        at_work = any(state.at_work for state in snapshot.states.values())  # slices may end in any order
        if (is_complete and not at_work) or time.monotonic() > end:
            return snapshot
        time.sleep(LAST_EVENTS_POLL_SECONDS)


class StallWatch:
    """Tells whether a graph has stalled, and why."""

    def __init__(self, requests: Sequence[ResourceRequest], stall_seconds: float) -> None:
        self._requests, self._stall_seconds = requests, stall_seconds
        self._initial_nodes = len(list_cluster_nodes())

    def explain(self, snapshot: Snapshot, idle_seconds: float) -> str:
        """Says why the run has stalled; empty while it has not."""
        if idle_seconds <= self._stall_seconds:
            return ""
        return explain_stall(snapshot, idle_seconds, _describe_lost_capacity(self._requests, self._initial_nodes))


def _describe_lost_capacity(requests: Sequence[ResourceRequest], initial_nodes: int) -> str | None:
    """Says how many of the `initial_nodes` nodes are lost and which requests no longer fit; None if nothing is lost."""
    nodes = list_cluster_nodes()
    gone = f"{initial_nodes - len(nodes)} of {initial_nodes} nodes are lost" if len(nodes) < initial_nodes else None
    return "; ".join(filter(None, (gone, describe_shortfall(requests, nodes)))) or None


def find_stalled_stage(snapshot: Snapshot, seconds: float) -> str | None:
    """Returns the last stage that has work and has made no progress for `seconds`; None if there is none.

    A stage that hangs also holds up the stages before it, which keep chunks in their queues but have none in progress.
    So the search begins at the last stage, and a stage that only has queued chunks counts only if no later stage has
    work.
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
    """Names the stage that has held up the run for `STALL_NOTE_SHARE` of `stall_seconds`; empty if there is none."""
    stage = find_stalled_stage(snapshot, STALL_NOTE_SHARE * stall_seconds)
    if stage is None or not snapshot.stages[stage].workers:
        return ""  # the progress line already names stages whose workers are starting
    return f"stage {stage} has made no progress for {snapshot.states[stage].seconds_since_progress:.0f} s"


def describe_retries(snapshot: Snapshot) -> str:
    """Says which requests to servers are being retried, with the most frequent reasons; empty for none."""
    notes = []
    for stage, state in snapshot.states.items():
        if count := state.retrying.total():
            reasons = ", ".join(reason for reason, _ in state.retrying.most_common(MAX_REASONS))
            notes.append(f"{stage}: {count:,} request{'s' if count > 1 else ''} retried: {reasons}")
    return "; ".join(notes)


def explain_stall(snapshot: Snapshot, idle_seconds: float, lost_capacity: str | None) -> str:
    """Says which stage a stalled run waits for, and why.

    `lost_capacity` is the result of `_describe_lost_capacity`.
    """
    where = _locate_stall(snapshot) + (f"; {lost_capacity}" if lost_capacity else "")
    return f"no progress for {idle_seconds:.0f} s: {where}"


def _locate_stall(snapshot: Snapshot) -> str:
    stage = find_stalled_stage(snapshot, 0)
    if stage is not None and snapshot.states[stage].at_work:
        return f"stage {stage} has been working on {snapshot.states[stage].oldest_chunk}"
    for candidate in [stage] if stage is not None else snapshot.stages:
        if snapshot.stages[candidate].workers == 0:
            return f"no worker of stage {candidate} has started (are there CPUs and GPUs left on the cluster?)"
    if stage is not None:
        return f"stage {stage} has started none of its {snapshot.states[stage].queued} queued chunks"
    return f"stage {next(iter(snapshot.stages))} is waiting for shards to be read"
