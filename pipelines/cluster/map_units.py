"""Runs a pure function over units of work as Ray tasks, and distinguishes slow work from unstarted work."""

import os
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import ray

from pipelines.cluster.connection import translate_error
from pipelines.cluster.failure import Failure
from pipelines.cluster.prometheus import UNITS, UNITS_LEFT, Exporter
from pipelines.cluster.ray_internals import get_value, put_value, remove_value
from schemas.errors import ShardloomError
from schemas.log import LOG, configure_log, get_worker_level

U = TypeVar("U")
T = TypeVar("T")


def map_units(
    function: Callable[[U], T],
    units: Sequence[U],
    workers: int,
    stall_seconds: float,
    exporter: Exporter | None,
    retries: int,
    placement: Mapping[str, Any],
) -> Iterator[T]:
    """Yields the results in the order in which they are done, by `workers` workers of the connected cluster.

    See `pipelines.cluster.runner.Runner.map`.
    """
    plain = getattr(function, "func", function)
    stage = getattr(plain, "__name__", type(plain).__name__)  # the function may be a callable object
    level = get_worker_level()

    def run(mark: str, unit: U) -> T | Failure:
        configure_log(level, process=f"{stage} worker {os.getpid()}")
        return run_marked(function, mark, unit)

    task = ray.remote(num_cpus=1, max_retries=retries, **placement)(run)
    waiting, done_units = iter(units), 0
    running: dict[Any, str] = {}  # reference to a result -> mark of its unit
    try:
        while True:
            while len(running) < 2 * workers and (unit := next(waiting, None)) is not None:
                mark = uuid.uuid4().hex
                running[task.remote(mark, unit)] = mark
            if not running:
                return
            done = wait_for_first(running, stall_seconds)
            remove_marks([running.pop(done)])
            try:
                result = ray.get(done)
            except ray.exceptions.RayError as error:
                raise translate_error(error) from None
            if isinstance(result, Failure):
                raise result.to_error()
            done_units += 1
            if exporter is not None:
                exporter.export(UNITS, done_units, stage)
                exporter.export(UNITS_LEFT, len(units) - done_units, stage)
            yield result
    finally:
        if ray.is_initialized():
            remove_marks(running.values())


def wait_for_first(running: dict[Any, str], stall_seconds: float) -> Any:
    """Returns the first reference that is done. A unit that a worker has started may take any time.

    Raises `ShardloomError` when none is done for `stall_seconds` and no worker on a live node has started one.
    """
    while True:
        done, _ = ray.wait(list(running), num_returns=1, timeout=stall_seconds)
        if done:
            return done[0]
        if not is_any_running(running.values()):
            raise ShardloomError(
                f"no progress for {stall_seconds:g} s: no worker has started (are there CPUs left on the cluster?); "
                "finished work is kept; the same command resumes the run"
            )


def run_marked(function: Callable[[U], T], mark: str, unit: U) -> T | Failure:
    """Runs the function in the worker. First reports to the driver that it has started, and on which node.

    It reports through the cluster's own table, at the cost of one small message: an actor would need a process, and
    Ray's list of tasks would need a dashboard.
    """
    put_value(mark, ray.get_runtime_context().get_node_id())
    started = time.monotonic()
    result = run_capturing_errors(function, unit)
    LOG.debug(f"a unit took {time.monotonic() - started:.1f} s")
    return result


def is_any_running(marks: Collection[str]) -> bool:
    """Returns whether a worker on a live node has started one of these units."""
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    return any(get_value(mark) in alive for mark in marks)


def remove_marks(marks: Collection[str]) -> None:
    """Removes these marks from the cluster's table."""
    for mark in marks:
        remove_value(mark)


def run_capturing_errors(function: Callable[[U], T], unit: U) -> T | Failure:
    """Returns the result, or a foreseen error as a `Failure`."""
    try:
        return function(unit)
    except ShardloomError as error:
        return Failure.from_error(error)
