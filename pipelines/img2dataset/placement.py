"""Decides which nodes download images: those with img2dataset's environment."""

from typing import Any

from pipelines.cluster.runner import Runner
from pipelines.environments.python import ensure_environment, get_completion_mark
from schemas.errors import UsageError

ENVIRONMENT = "img2dataset"
DOWNLOAD_RESOURCE = "shardloom-download"  # the Ray resource of nodes dedicated to downloads


def plan_download_placement(runner: Runner, parts: int) -> dict[str, Any]:
    """Returns Ray's options for download tasks: nodes that offer `shardloom-download` if there are any, else all.

    Without an external cluster, it builds img2dataset's environment on this machine if missing. Raises `UsageError` if
    a cluster's nodes lack it.
    """
    if not runner.uses_external_cluster or runner.is_in_process(parts):
        ensure_environment(ENVIRONMENT)
        return {}
    import ray

    from pipelines.cluster.nodes import MIN_RESOURCE, find_nodes_without

    runner.connect()
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    offering = [node for node in nodes if node["Resources"].get(DOWNLOAD_RESOURCE)]
    if missing := find_nodes_without(offering or nodes, get_completion_mark(ENVIRONMENT)):
        raise UsageError(
            f"{ENVIRONMENT} runs in an environment of its own, which is not on {len(missing)} of the "
            f"{len(offering or nodes)} nodes for it ({missing[0]}): shardloom engines --build {ENVIRONMENT}"
        )
    return {"resources": {DOWNLOAD_RESOURCE: MIN_RESOURCE}} if offering else {}
