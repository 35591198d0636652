"""Runs the work of one command in process, on a local Ray cluster, or on an external one.

The place is decided once, when the command starts. A small set is finished in less time than importing Ray takes, so
this module imports Ray only when there is work for a cluster.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pipelines.cluster.machine import cores, gpus
from pipelines.cluster.prometheus import Exporter
from pipelines.recipes.base import RunOptions
from schemas.errors import UsageError
from schemas.own_packages import strange_package

if TYPE_CHECKING:
    from pipelines.cluster.capacity import Node, Request

U = TypeVar("U")
T = TypeVar("T")

STORE_BYTES = 1 << 30  # of a cluster's object store: enough for units and their results


class Place(Enum):
    """Names the places where work can run."""

    IN_PROCESS = "in process"
    OWN_CLUSTER = "own cluster"
    JOINED_CLUSTER = "joined cluster"


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs the work of a command at one place."""

    run: RunOptions
    place: Place

    @classmethod
    def open(cls, run: RunOptions, *, needs_cluster: bool = False) -> Self:
        """Decides where work with these options runs. A command with a Ray Data graph `needs_cluster`.

        Raises `UsageError` for a working folder with a package named like one of Shardloom's: workers would import it.
        """
        place = _place(run, needs_cluster)
        # Ray puts the working folder first in every worker's path.
        if place is not Place.IN_PROCESS and (fault := strange_package([str(Path.cwd()), *sys.path])):
            raise UsageError(fault)
        return cls(run, place)

    @property
    def is_joined(self) -> bool:
        """Returns whether the work runs on an external cluster."""
        return self.place is Place.JOINED_CLUSTER

    def works_here(self, units: int) -> bool:
        """Returns whether this process works on `units` units itself: a single unit is not worth a local cluster."""
        return self.place is Place.IN_PROCESS or units == 0 or (units == 1 and not self.is_joined)

    def connect(self, object_store_bytes: int = STORE_BYTES, cpus: float = 0.0) -> None:
        """Connects to the external cluster, or starts a local one of this size at least. Raises `ShardloomError`."""
        from pipelines.cluster.connection import connect

        connect(self.run, object_store_bytes, cpus)

    def nodes(self) -> "list[Node]":
        """Returns the nodes with their capacity for workers and for reading; for a local cluster, this machine."""
        from pipelines.cluster.capacity import READING_CPUS, Node, cluster_nodes

        if self.is_joined:
            self.connect()
            return cluster_nodes()
        return [Node(cores() + READING_CPUS, gpus())]  # a local cluster declares one core more

    def workers(self) -> int:
        """Returns the number of workers of the recipe; by default one a core."""
        if self.run.workers is not None or not self.is_joined:
            return self.run.workers or cores()
        from pipelines.cluster.capacity import READING_CPUS

        return max(1, int(sum(node.cpus for node in self.nodes()) - READING_CPUS))

    def check(self, requests: "Sequence[Request]") -> None:
        """Raises `UsageError` naming every stage whose workers don't fit on the cluster."""
        from pipelines.cluster.capacity import check

        check(requests)

    def exporter(self, output: str) -> Exporter | None:
        """Returns the exporter of the run to Prometheus; None on a local cluster, which nobody scrapes."""
        return Exporter(output.rstrip("/")) if self.is_joined else None

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
        if self.works_here(len(units)):
            yield from map(function, units)
            return
        from pipelines.cluster.map_units import map_units

        self.connect()
        workers, exporter = min(len(units), self.workers()), self.exporter(self.run.output or "")
        yield from map_units(function, units, workers, self.run.stall_seconds, exporter, retries, placement)


def _place(run: RunOptions, needs_cluster: bool) -> Place:
    if run.address is not None:
        return Place.JOINED_CLUSTER
    if run.workers == 1 and not needs_cluster:
        return Place.IN_PROCESS
    if os.environ.get("RAY_ADDRESS"):  # set in a Ray job, whose node may be the cluster's smallest
        return Place.JOINED_CLUSTER
    if "ray" in sys.modules:
        from pipelines.cluster.connection import is_callers

        if is_callers():
            return Place.JOINED_CLUSTER
    if run.workers is None and cores() == 1 and not needs_cluster:
        return Place.IN_PROCESS
    return Place.OWN_CLUSTER
