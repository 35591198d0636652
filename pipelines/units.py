"""Runs a pure function over units of work: in this process for one worker, as Ray tasks for more."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from pipelines.messages import Failure
from pipelines.recipe import RunOptions
from schemas.errors import ShardloomError

U = TypeVar("U")
T = TypeVar("T")


def runs_alone(run: RunOptions, units: int) -> bool:
    """Whether so many units are worked on in this process."""
    if run.address is not None:
        return False
    if units <= 1 or run.workers == 1:
        return True
    from pipelines.cluster import default_workers  # here: it imports Ray, which takes longer than small sets to render

    return default_workers(run) == 1


def map_units(function: Callable[[U], T], units: Sequence[U], run: RunOptions, retries: int = 3) -> Iterator[T]:
    """Results in whatever order they are done. When a worker dies its unit is done again, so many times at most."""
    if runs_alone(run, len(units)):
        yield from map(function, units)
        return
    import ray

    from pipelines.cluster import connect, default_workers, explained

    connect(run, object_store_bytes=1 << 30)
    workers = min(len(units), default_workers(run))
    task = ray.remote(num_cpus=1, max_retries=retries)(lambda unit: outcome(function, unit))
    waiting = iter(units)
    running: list[Any] = []  # references to results
    while True:
        while len(running) < 2 * workers and (unit := next(waiting, None)) is not None:
            running.append(task.remote(unit))
        if not running:
            return
        done, running = ray.wait(running, num_returns=1)
        try:
            result = ray.get(done[0])
        except ray.exceptions.RayError as error:
            raise explained(error) from None
        if isinstance(result, Failure):
            raise result.error()
        yield result


def outcome(function: Callable[[U], T], unit: U) -> T | Failure:
    """The result, or a foreseen error as data: as an exception it would reach the driver as the text of a stack."""
    try:
        return function(unit)
    except ShardloomError as error:
        return Failure.of(error)
