"""Checks all nodes of a cluster for files that a run needs there."""

import os
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from schemas.errors import ShardloomError

MIN_RESOURCE = 0.0001  # of a resource that only selects nodes: Ray's smallest amount


ANSWER_TIMEOUT_SECONDS = 60.0


def find_nodes_without(nodes: list[dict[str, Any]], file: Path) -> list[str]:
    """Returns the addresses of the nodes without this file. Raises `ShardloomError` if a node does not answer."""
    looks = [
        ray.remote(os.path.exists)
        .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
        .remote(str(file))
        for node in nodes
    ]
    try:
        there = ray.get(looks, timeout=ANSWER_TIMEOUT_SECONDS)
    except ray.exceptions.GetTimeoutError:
        raise ShardloomError(
            f"the cluster's nodes did not answer within {ANSWER_TIMEOUT_SECONDS:g} s; rerun the command"
        ) from None
    return [str(node["NodeManagerAddress"]) for node, found in zip(nodes, there, strict=True) if not found]
