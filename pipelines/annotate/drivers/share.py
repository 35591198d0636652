"""Divides the pools of a run among its drivers.

One driver feeds 34 chunks a second (docs/benchmarks.md). Its workers keep it busy long before that: each takes its part
of the scheduling loop.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipelines.annotate.pools import LIGHT_WORKER_CPUS, MIN_CPUS, Pool
from pipelines.cluster.capacity import TOLERANCE, ResourceRequest
from schemas.errors import UsageError

GPU_WORKERS_PER_DRIVER = 64  # at 0.3 chunks a second each: 56 % of what a driver feeds
CPU_WORKERS_PER_DRIVER = 512  # at 0.015 chunks a second each, and with the scheduling of a worker

WORKERS_PER_READER = 8  # a reader is many times faster than 8 OCR workers; more readers would only open more shards


@dataclass(frozen=True, slots=True)
class DriverShare:
    """Describes one of a run's drivers: its place among them, its pools, and the resources of all."""

    place: int
    drivers: int
    pools: list[Pool]
    total_cpus: float  # that the pools of all drivers may grow to
    total_gpus: float

    @property
    def name(self) -> str:
        """Returns how messages name the driver."""
        return f"driver {self.place + 1} of {self.drivers}"

    @property
    def cpus(self) -> float:
        """Returns the cores that the pools of this driver may grow to."""
        return _sum_cpus(self.pools)

    @property
    def gpus(self) -> float:
        """Returns the GPUs that the pools of this driver may grow to."""
        return _sum_gpus(self.pools)


def count_drivers(asked: int | None, pools: Sequence[Pool], shards: int) -> int:
    """Returns the number of drivers: what `run.drivers` asks for, or by the size of the pools.

    Raises `UsageError` where a pool has fewer workers than it asks for. Each driver needs a shard, too.
    """
    limits = {pool.name: pool.request.max_workers for pool in pools if not _is_light(pool.request)}
    if asked is not None:
        if few := [f"{name} has {limit}" for name, limit in limits.items() if limit < asked]:
            raise UsageError(
                f"run.drivers is {asked}, and of workers {' and '.join(few)}: each driver needs one of its own; lower "
                "run.drivers"
            )
        return max(1, min(asked, shards))
    on_gpus = sum(pool.request.max_workers for pool in pools if pool.request.gpus)
    on_cpus = sum(pool.request.max_workers for pool in pools if not pool.request.gpus)
    wanted = max(-(-on_gpus // GPU_WORKERS_PER_DRIVER), -(-on_cpus // CPU_WORKERS_PER_DRIVER))
    return max(1, min(wanted, shards, *limits.values()))


def give_each_a_worker(pools: Sequence[Pool], drivers: int) -> list[Pool]:
    """Raises each pool to one worker for each driver. More workers of a light pool share the cores that it had."""
    return [replace(pool, request=_raise_request(pool.request, drivers)) for pool in pools]


def divide_pools(pools: Sequence[Pool], drivers: int) -> list[DriverShare]:
    """Divides the workers of each pool among the drivers, as equally as their numbers allow."""
    total = (_sum_cpus(pools), _sum_gpus(pools))
    return [
        DriverShare(
            place, drivers, [replace(pool, request=_divide(pool.request, place, drivers)) for pool in pools], *total
        )
        for place in range(drivers)
    ]


def count_readers(pools: Sequence[Pool]) -> int:
    """Returns how many shards a driver with these pools reads at a time."""
    return -(-max(pool.request.max_workers for pool in pools) // WORKERS_PER_READER)


def _divide(request: ResourceRequest, place: int, drivers: int) -> ResourceRequest:
    fewest, most = ((many + drivers - 1 - place) // drivers for many in (request.min_workers, request.max_workers))
    return replace(request, min_workers=fewest, max_workers=most)


def _raise_request(request: ResourceRequest, drivers: int) -> ResourceRequest:
    if request.min_workers >= drivers:
        return request
    if request.max_workers >= drivers:
        return replace(request, min_workers=drivers)
    cpus = max(MIN_CPUS, request.cpus * request.max_workers / drivers)
    return replace(request, min_workers=drivers, max_workers=drivers, cpus=cpus)


def _is_light(request: ResourceRequest) -> bool:
    """Returns whether workers of this size mostly wait, so that the pool can have more of them."""
    return not request.gpus and request.cpus <= LIGHT_WORKER_CPUS + TOLERANCE


def _sum_cpus(pools: Sequence[Pool]) -> float:
    return sum(pool.request.max_workers * pool.request.cpus for pool in pools)


def _sum_gpus(pools: Sequence[Pool]) -> float:
    return sum(pool.request.max_workers * pool.request.gpus for pool in pools)
