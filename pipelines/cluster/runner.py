"""Where the work of one command runs: in this process, on a Ray cluster of our own, or on one that is joined.

It is decided once, when the command starts. Small sets are done before Ray has been imported, so nothing here imports
it before there is something to do on a cluster.
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

STORE_BYTES = 1 << 30  # of a cluster's object store: what units and their results need


class Place(Enum):
    """Names where work can run."""

    IN_PROCESS = "in process"
    OWN_CLUSTER = "own cluster"
    JOINED_CLUSTER = "joined cluster"


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs a command's work at its place."""

    run: RunOptions
    place: Place

    @classmethod
    def open(cls, run: RunOptions, *, needs_cluster: bool = False) -> Self:
        """Decides where the work of these options runs; a command of Ray Data graphs `needs_cluster`.

        Raises `UsageError` for a working folder with a package of the name of one of ours: workers would import that.
        """
        place = _place(run, needs_cluster)
        # Ray puts the working folder first for all workers.
        if place is not Place.IN_PROCESS and (fault := strange_package([str(Path.cwd()), *sys.path])):
            raise UsageError(fault)
        return cls(run, place)

    @property
    def is_joined(self) -> bool:
        """Says whether the work runs on a cluster that is not our own."""
        return self.place is Place.JOINED_CLUSTER

    def works_here(self, units: int) -> bool:
        """Says whether so many units are worked on in this process: one unit needs no cluster of our own."""
        return self.place is Place.IN_PROCESS or units == 0 or (units == 1 and not self.is_joined)

    def connect(self, object_store_bytes: int = STORE_BYTES, cpus: float = 0.0) -> None:
        """Joins the cluster, or starts one that has at least so much; raises `ShardloomError` when that fails."""
        from pipelines.cluster.connection import connect

        connect(self.run, object_store_bytes, cpus)

    def nodes(self) -> "list[Node]":
        """Returns the nodes with what they have for workers and for reading; of our own cluster, this machine."""
        from pipelines.cluster.capacity import READING_CPUS, Node, cluster_nodes

        if self.is_joined:
            self.connect()
            return cluster_nodes()
        return [Node(cores() + READING_CPUS, gpus())]  # a cluster of our own says that it has a core more

    def workers(self) -> int:
        """Returns the number of workers asked for; by default one a core."""
        if self.run.workers is not None or not self.is_joined:
            return self.run.workers or cores()
        from pipelines.cluster.capacity import READING_CPUS

        return max(1, int(sum(node.cpus for node in self.nodes()) - READING_CPUS))

    def check(self, requests: "Sequence[Request]") -> None:
        """Raises `UsageError` naming every stage whose workers don't fit on the cluster."""
        from pipelines.cluster.capacity import check

        check(requests)

    def exporter(self, output: str) -> Exporter | None:
        """Returns what tells Prometheus of the run; None on a cluster of our own, which nobody scrapes."""
        return Exporter(output.rstrip("/")) if self.is_joined else None

    def map(
        self,
        function: Callable[[U], T],
        units: Sequence[U],
        retries: int = 3,
        placement: Mapping[str, Any] = MappingProxyType({}),
    ) -> Iterator[T]:
        """Yields the results of a pure function over units, in the order in which they are done.

        When a worker dies its unit is done again, `retries` times at most. `placement` is what Ray is told of where the
        work may be done. Raises `ShardloomError` when for `stall_seconds` no unit is done and none is worked on.
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
    if os.environ.get("RAY_ADDRESS"):  # a job's, whose own machine may be the smallest of its cluster
        return Place.JOINED_CLUSTER
    if "ray" in sys.modules:
        from pipelines.cluster.connection import is_callers

        if is_callers():
            return Place.JOINED_CLUSTER
    if run.workers is None and cores() == 1 and not needs_cluster:
        return Place.IN_PROCESS
    return Place.OWN_CLUSTER
