"""Runs the work of one command in process, on a local Ray cluster, or on an external one.

The place is decided once, when the command starts. A small set is finished in less time than importing Ray takes, so
this module imports Ray only when there is work for a cluster.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pipelines.cluster.address import check_address, find_address
from pipelines.cluster.machine import count_cores, count_gpus
from pipelines.cluster.prometheus import Exporter
from pipelines.recipes.base import RunOptions
from schemas.activity import report_activity
from schemas.errors import UsageError
from schemas.own_packages import find_foreign_package

if TYPE_CHECKING:
    from pipelines.cluster.capacity import Node, ResourceRequest

U = TypeVar("U")
T = TypeVar("T")

OBJECT_STORE_BYTES = 1 << 30  # of a cluster's object store: enough for units and their results


class ExecutionMode(Enum):
    """Names the places where work can run."""

    IN_PROCESS = "in process"
    LOCAL_CLUSTER = "own cluster"
    EXTERNAL_CLUSTER = "joined cluster"


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs the work of a command at one place."""

    run_options: RunOptions
    mode: ExecutionMode

    @classmethod
    def open(cls, run: RunOptions, *, needs_cluster: bool = False) -> Self:
        """Decides where work with these options runs. A command with a Ray Data graph `needs_cluster`.

        Raises `UsageError` for a working folder with a package named like one of Shardloom's: workers would import it.
        """
        place = _choose_mode(run, needs_cluster)
        # A worker's path begins with the working folder, if this process's path has it (`make_job_config`).
        if place is not ExecutionMode.IN_PROCESS and (fault := find_foreign_package([str(Path.cwd()), *sys.path])):
            raise UsageError(fault)
        return cls(run, place)

    @property
    def uses_external_cluster(self) -> bool:
        """Returns whether the work runs on an external cluster."""
        return self.mode is ExecutionMode.EXTERNAL_CLUSTER

    def is_in_process(self, units: int) -> bool:
        """Returns whether this process works on `units` units itself: a single unit is not worth a local cluster."""
        return self.mode is ExecutionMode.IN_PROCESS or units == 0 or (units == 1 and not self.uses_external_cluster)

    def check_address(self) -> None:
        """Raises `ShardloomError` where the external cluster does not answer. Takes seconds, and needs no Ray.

        Does nothing where this process uses Ray already.
        """
        if self.uses_external_cluster and not _is_connected():
            check_address(self.run_options)

    def connect(self, object_store_bytes: int = OBJECT_STORE_BYTES, cpus: float = 0.0) -> None:
        """Connects to the external cluster, or starts a local one of this size at least. Raises `ShardloomError`."""
        address = find_address(self.run_options)
        doing = f"connecting to Ray at {address}" if address else "starting Ray on this machine"
        with report_activity(doing, at_once=not _is_connected()):
            self.check_address()  # before Ray is imported
            from pipelines.cluster.connection import connect

            connect(self.run_options, object_store_bytes, cpus)

    def list_nodes(self) -> "list[Node]":
        """Returns the nodes with their capacity for workers and for reading; for a local cluster, this machine."""
        if self.uses_external_cluster:
            self.connect()
        from pipelines.cluster.capacity import READ_STAGE_CPUS, Node, list_cluster_nodes

        if self.uses_external_cluster:
            return list_cluster_nodes()
        return [Node(count_cores() + READ_STAGE_CPUS, count_gpus())]  # a local cluster declares one core more

    def count_workers(self) -> int:
        """Returns the number of workers of the recipe; by default one per core."""
        if self.run_options.workers is not None or not self.uses_external_cluster:
            return self.run_options.workers or count_cores()
        from pipelines.cluster.capacity import READ_STAGE_CPUS

        return max(1, int(sum(node.cpus for node in self.list_nodes()) - READ_STAGE_CPUS))

    def check_capacity(self, requests: "Sequence[ResourceRequest]") -> None:
        """Raises `UsageError` naming every stage whose workers don't fit on the cluster."""
        from pipelines.cluster.capacity import check_capacity

        check_capacity(requests)

    def make_exporter(self, output: str) -> Exporter | None:
        """Returns the exporter of the run to Prometheus; None on a local cluster, which nobody scrapes."""
        return Exporter(output.rstrip("/")) if self.uses_external_cluster else None

    def map(
        self,
        function: Callable[[U], T],
        units: Sequence[U],
        retries: int = 3,
        placement: Mapping[str, Any] = MappingProxyType({}),
    ) -> Iterator[T]:
        """Yields the results of a pure function over units, in the order in which they are done.

        When a worker dies its unit is retried, at most `retries` times. `placement` holds Ray's options for where tasks
        may run. Raises `ShardloomError` when for `stall_seconds` no unit is done and none has started.
        """
        if self.is_in_process(len(units)):
            yield from map(function, units)
            return
        self.connect()  # says so before anything imports Ray
        from pipelines.cluster.map_units import map_units

        workers, exporter = min(len(units), self.count_workers()), self.make_exporter(self.run_options.output or "")
        yield from map_units(function, units, workers, self.run_options.stall_seconds, exporter, retries, placement)


def _is_connected() -> bool:
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def _choose_mode(run: RunOptions, needs_cluster: bool) -> ExecutionMode:
    if run.address is not None:
        return ExecutionMode.EXTERNAL_CLUSTER
    if run.workers == 1 and not needs_cluster:
        return ExecutionMode.IN_PROCESS
    if find_address(run):  # RAY_ADDRESS is set in a Ray job, whose node may be the cluster's smallest
        return ExecutionMode.EXTERNAL_CLUSTER
    if "ray" in sys.modules:
        from pipelines.cluster.connection import is_initialized_by_caller

        if is_initialized_by_caller():
            return ExecutionMode.EXTERNAL_CLUSTER
    if run.workers is None and count_cores() == 1 and not needs_cluster:
        return ExecutionMode.IN_PROCESS
    return ExecutionMode.LOCAL_CLUSTER
