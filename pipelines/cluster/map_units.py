"""Runs a pure function over units of work: in this process for one worker, as Ray tasks for more."""

import os
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from pipelines.cluster.failure import Failure
from pipelines.cluster.prometheus import UNITS, UNITS_LEFT, Exporter
from pipelines.cluster.ray_internals import get_value, put_value, remove_value
from pipelines.recipes.base import RunOptions
from schemas.errors import ShardloomError

U = TypeVar("U")
T = TypeVar("T")


def runs_alone(run: RunOptions, units: int) -> bool:
    """Whether so many units are worked on in this process."""
    if units == 0:
        return True
    if run.address is not None:
        return False
    if run.workers == 1:
        return True
    if os.environ.get("RAY_ADDRESS"):  # a job's, whose own machine may be the smallest of its cluster
        return False
    if units == 1:
        return True
    from pipelines.cluster.connection import (
        default_workers,  # here: it imports Ray, which takes longer than small sets to render
    )

    return default_workers(run) == 1


def map_units(
    function: Callable[[U], T],
    units: Sequence[U],
    run: RunOptions,
    retries: int = 3,
    placement: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[T]:
    """Results in whatever order they are done. When a worker dies its unit is done again, so many times at most.

    `placement` is what Ray is told of where the work may be done, as `pipelines.annotate.placement` has it.
    Raises `ShardloomError` when for `stall_seconds` no unit is done and none is worked on.
    """
    if runs_alone(run, len(units)):
        yield from map(function, units)
        return
    import ray

    from pipelines.cluster.connection import connect, default_workers, explained, joins

    connect(run, object_store_bytes=1 << 30)
    exporter = Exporter((run.output or "").rstrip("/")) if joins(run) else None
    plain = getattr(function, "func", function)
    stage = getattr(plain, "__name__", type(plain).__name__)  # work may be an object that is called
    workers = min(len(units), default_workers(run))
    task = ray.remote(num_cpus=1, max_retries=retries, **placement)(lambda mark, unit: marked(function, mark, unit))
    waiting, done_units = iter(units), 0
    running: dict[Any, str] = {}  # references to results, and the marks of who works on them
    try:
        while True:
            while len(running) < 2 * workers and (unit := next(waiting, None)) is not None:
                mark = uuid.uuid4().hex
                running[task.remote(mark, unit)] = mark
            if not running:
                return
            done = first_done(running, run.stall_seconds)
            forget([running.pop(done)])
            try:
                result = ray.get(done)
            except ray.exceptions.RayError as error:
                raise explained(error) from None
            if isinstance(result, Failure):
                raise result.error()
            done_units += 1
            if exporter is not None:
                exporter.tell(UNITS, done_units, stage)
                exporter.tell(UNITS_LEFT, len(units) - done_units, stage)
            yield result
    finally:
        if ray.is_initialized():
            forget(running.values())


def first_done(running: dict[Any, str], stall_seconds: float) -> Any:
    """The first of the references that is done. A unit may take as long as it likes, if only a worker has begun it."""
    import ray

    while True:
        done, _ = ray.wait(list(running), num_returns=1, timeout=stall_seconds)
        if done:
            return done[0]
        if not is_any_at_work(running.values()):
            raise ShardloomError(
                f"no progress for {stall_seconds:g} s: no worker has started (are there CPUs left on the cluster?); "
                "what is done is kept, the same command goes on"
            )


def marked(function: Callable[[U], T], mark: str, unit: U) -> T | Failure:
    """Runs in the worker. Tells the driver first that it has begun, and on which node.

    In the cluster's own table, where it costs one small message: an actor would need a process of its own, and what
    Ray lists of its tasks a dashboard.
    """
    import ray

    put_value(mark, ray.get_runtime_context().get_node_id())
    return outcome(function, unit)


def is_any_at_work(marks: Collection[str]) -> bool:
    """Whether a worker has begun one of these units, on a node that is still there."""
    import ray

    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    return any(get_value(mark) in alive for mark in marks)


def forget(marks: Collection[str]) -> None:
    """Removes these marks."""
    for mark in marks:
        remove_value(mark)


def outcome(function: Callable[[U], T], unit: U) -> T | Failure:
    """The result, or a foreseen error as data: as an exception it would reach the driver as the text of a stack."""
    try:
        return function(unit)
    except ShardloomError as error:
        return Failure.of(error)
