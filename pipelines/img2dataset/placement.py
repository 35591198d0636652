"""Decides which nodes download images: those with img2dataset's environment."""

from typing import Any

from pipelines.cluster.runner import Runner
from pipelines.environments.python import mark_of, python_of
from schemas.errors import UsageError

ENVIRONMENT = "img2dataset"
OFFER = "shardloom-download"  # the Ray resource of nodes dedicated to downloads


def download_placement(runner: Runner, parts: int) -> dict[str, Any]:
    """Returns Ray's options for download tasks: nodes that offer `shardloom-download` if there are any, else all.

    Without an external cluster, it builds img2dataset's environment on this machine if missing. Raises `UsageError` if
    a cluster's nodes lack it.
    """
    if not runner.is_joined or runner.works_here(parts):
        python_of(ENVIRONMENT)
        return {}
    import ray

    from pipelines.cluster.nodes import LEAST, nodes_without

    runner.connect()
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    offering = [node for node in nodes if node["Resources"].get(OFFER)]
    if lacking := nodes_without(offering or nodes, mark_of(ENVIRONMENT)):
        raise UsageError(
            f"{ENVIRONMENT} runs in an environment of its own, which is not on {len(lacking)} of the "
            f"{len(offering or nodes)} nodes for it ({lacking[0]}): shardloom engines --build {ENVIRONMENT}"
        )
    return {"resources": {OFFER: LEAST}} if offering else {}
