"""Computes a cluster's capacity: how many workers of each stage fit on its nodes.

Sums of cores and GPUs are not enough. A run can fit by its sums and never start, because a worker needs one node, a
fraction of a GPU needs one GPU, and a pool that some nodes offer to run needs these nodes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import ray

from schemas.errors import UsageError

TOLERANCE = 1e-6  # tolerance: sums of fractions of cores are not exact
READ_STAGE_CPUS = 1.0  # for all tasks that read shards together: they wait for disks more than they compute
MAX_READ_SHARE = 0.5  # of a cluster's cores for reading: one with less than two cores reads with half of them
READ_TASK_CPUS = 0.001  # of one such task: so small that it fits on any node, however little the pools leave


@dataclass(frozen=True, slots=True)
class ResourceRequest:
    """Describes the workers that a stage requests: the minimum to run, the maximum to grow to, and the size of each."""

    stage: str
    min_workers: int
    max_workers: int
    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True)
class Node:
    """Describes what a node has for workers."""

    cpus: float
    gpus: int = 0
    offered_stages: frozenset[str] = frozenset()  # stages that run on such nodes only

    def __str__(self) -> str:
        offers = f", for {' and '.join(sorted(self.offered_stages))}" if self.offered_stages else ""
        return f"({self.cpus:g} CPUs, {self.gpus} GPUs{offers})"

    def count_fitting(self, cpus: float, gpus: float) -> int:
        """Returns how many workers of this size fit on the node at once. A request of several GPUs takes whole ones."""
        return _FreeCapacity(self).count_fitting(cpus, gpus)


def count_read_cpus(nodes: Sequence[Node]) -> float:
    """Returns the cores of a cluster that are left to the tasks that read shards."""
    return min(READ_STAGE_CPUS, MAX_READ_SHARE * sum(node.cpus for node in nodes))


def list_cluster_nodes() -> list[Node]:
    """Returns the live nodes of the cluster that this process is connected to."""
    found = []
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            offers = (name.removeprefix("shardloom-") for name in has if name.startswith("shardloom-"))
            found.append(Node(has.get("CPU", 0.0), int(has.get("GPU", 0)), frozenset(offers)))
    return found


def select_nodes(stage: str, nodes: Sequence[Node]) -> list[Node]:
    """Returns the nodes that a stage runs on: those that offer it, or all where none does."""
    kind = stage.partition(".")[0]  # all captions run on the same nodes
    return [node for node in nodes if kind in node.offered_stages] or list(nodes)


def describe_shortfall(requests: Sequence[ResourceRequest], nodes: Sequence[Node]) -> str | None:
    """Names each stage that does not fit on the nodes, its request and its capacity, in one line; None if all fit."""
    placed = _place_workers(requests, nodes)
    faults = [
        f"stage {request.stage} asks for {request.min_workers} workers of {request.cpus:g} CPUs and {request.gpus:g} "
        f"GPUs, but there is capacity for {placed[request.stage]}"
        for request in requests
        if placed[request.stage] < request.min_workers
    ]
    has = " and ".join(f"{count} x {node}" for node, count in Counter(nodes).items())
    reading = f"{count_read_cpus(nodes):g} CPU of it for reading"
    return f"{'; '.join(faults)}; the cluster has {has or 'no nodes'}, {reading}" if faults else None


def check_capacity(requests: Sequence[ResourceRequest]) -> None:
    """Raises `UsageError` naming every stage whose workers don't fit on the cluster, and what to lower."""
    nodes = list_cluster_nodes()
    if fault := describe_shortfall(requests, nodes):
        raise UsageError(f"{fault}: {suggest_requests(requests, nodes)}")


def suggest_requests(requests: Sequence[ResourceRequest], nodes: Sequence[Node]) -> str:
    """Returns what can be lowered, of requests that do not fit."""
    alone = [replace(request, min_workers=1) for request in requests]
    if describe_shortfall(alone, nodes) is None:
        return "lower workers or min in run.resources"
    what = "gpus" if describe_shortfall([replace(one, cpus=READ_TASK_CPUS) for one in alone], nodes) else "cpus"
    return f"lower {what} in run.resources, or add nodes that have them"


class _FreeCapacity:
    """Tracks what is left of a node as workers are placed on it."""

    def __init__(self, node: Node) -> None:
        self.node, self.cpus, self.gpus = node, node.cpus, [1.0] * node.gpus

    def count_fitting(self, cpus: float, gpus: float) -> int:
        """Returns how many workers of this size fit."""
        by_cpus = int((self.cpus + TOLERANCE) / cpus)
        if not gpus:
            return by_cpus
        if gpus > 1:
            return min(by_cpus, int(sum(gpu == 1 for gpu in self.gpus) / gpus))
        return min(by_cpus, sum(int((gpu + TOLERANCE) / gpus) for gpu in self.gpus))

    def reserve(self, workers: int, cpus: float, gpus: float) -> None:
        """Places `workers` workers, which must fit."""
        self.cpus -= workers * cpus
        if gpus > 1:
            for _ in range(int(workers * gpus)):
                self.gpus[self.gpus.index(1.0)] = 0.0
        elif gpus:
            for _ in range(workers):
                tightest = min(gpu for gpu in self.gpus if gpu + TOLERANCE >= gpus)
                self.gpus[self.gpus.index(tightest)] -= gpus


def _place_workers(requests: Sequence[ResourceRequest], nodes: Sequence[Node]) -> dict[str, int]:
    """Returns how many of each stage's minimum of workers fit, placed round-robin over the nodes as Ray Data does."""
    left = [_FreeCapacity(node) for node in nodes]
    free_cpus = sum(node.cpus for node in nodes) - count_read_cpus(nodes)  # on any nodes: a reader asks for a fraction
    placed: dict[str, int] = {}
    turn = 0
    for request in requests:
        choice = set(select_nodes(request.stage, nodes))
        placed[request.stage] = 0
        for _ in range(request.min_workers):
            places = (place % len(left) for place in range(turn, turn + len(left)))
            spots = (spot for spot in places if left[spot].node in choice)
            found = next((spot for spot in spots if left[spot].count_fitting(request.cpus, request.gpus)), None)
            if found is None or free_cpus + TOLERANCE < request.cpus:
                break
            left[found].reserve(1, request.cpus, request.gpus)
            free_cpus -= request.cpus
            turn = found + 1
            placed[request.stage] += 1
    return placed
