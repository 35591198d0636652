"""Runs a pure function over units of work as Ray tasks, and tells work that takes long from work that never began."""

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import ray

from pipelines.cluster.connection import explained
from pipelines.cluster.failure import Failure
from pipelines.cluster.prometheus import UNITS, UNITS_LEFT, Exporter
from pipelines.cluster.ray_internals import get_value, put_value, remove_value
from schemas.errors import ShardloomError

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
    """Results in whatever order they are done, by so many workers of the cluster that this process is connected to.

    See `pipelines.cluster.runner.Runner.map`.
    """
    plain = getattr(function, "func", function)
    stage = getattr(plain, "__name__", type(plain).__name__)  # work may be an object that is called
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
            done = first_done(running, stall_seconds)
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
    put_value(mark, ray.get_runtime_context().get_node_id())
    return outcome(function, unit)


def is_any_at_work(marks: Collection[str]) -> bool:
    """Whether a worker has begun one of these units, on a node that is still there."""
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
