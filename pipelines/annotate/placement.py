"""Decides where a pool's workers run: in which Python environment and on which nodes of the cluster.

An engine whose packages conflict with Shardloom's has a separate environment, which plain pip makes from pins
(`pipelines/environments`) or which a container's image holds. Ray starts its workers with that environment's Python
(`runtime_env`'s `py_executable`). The run brings Shardloom's own packages there as `py_modules`: they are the driver's,
byte for byte, and override what is installed on the node.

Where a node offers the resource `shardloom-ocr` (or `-tags`, `-boxes`, `-captions`, `-decode`), those pools run on such
nodes only. So each kind of engine can have a group of nodes with the image and the GPUs that it needs.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ray

import curation
import pipelines
import schemas
from curation.engines.stages import get_kind
from pipelines.annotate.environments import describe_missing, find_environments
from pipelines.cluster.nodes import MIN_RESOURCE, find_nodes_without
from pipelines.cluster.ray_internals import upload_packages
from pipelines.environments.python import get_completion_mark, get_interpreter
from pipelines.recipes.annotate import AnnotateRecipe, PoolName
from schemas.errors import UsageError

PACKAGE_TTL_SECONDS = 30 * 86_400  # how long a cluster keeps uploaded packages: longer than any run; Ray allows 49 days

# Shardloom's packages, uploaded at each start, without the files that no engine in another environment loads.
_OUR_PACKAGES = [str(Path(package.__path__[0])) for package in (schemas, curation, pipelines)]
_EXCLUDED_PATHS = ["demo_detector/weights", "__pycache__"]


def plan_placements(recipe: AnnotateRecipe, pools: Iterable[PoolName]) -> dict[PoolName, dict[str, Any]]:
    """Returns each pool's options for Ray, apart from its cores. Raises `UsageError` if nodes miss its environment."""
    pools = list(pools)
    environments = find_environments(recipe, [stage for stage in recipe.stages if stage in pools])
    options: dict[PoolName, dict[str, Any]] = {name: {} for name in pools}
    for pool in pools:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        resource = f"shardloom-{get_kind(pool)}"
        if offering := [node for node in nodes if node["Resources"].get(resource)]:
            options[pool]["resources"] = {resource: MIN_RESOURCE}
        if pool in environments and pool != "decode":
            name = environments[pool]
            if missing := find_nodes_without(offering or nodes, get_completion_mark(name)):
                where = f"is not on {len(missing)} of the {len(offering or nodes)} nodes for it ({missing[0]})"
                raise UsageError(describe_missing(recipe, pool, name, where))
            options[pool]["runtime_env"] = _build_runtime_env(name)
    return options


def _build_runtime_env(name: str) -> dict[str, Any]:
    """Returns Ray's `runtime_env` for one pool: the environment's Python, and the driver's copy of our packages."""
    return {
        "py_executable": str(get_interpreter(name)),
        "py_modules": upload_packages(_OUR_PACKAGES, _EXCLUDED_PATHS, PACKAGE_TTL_SECONDS),
    }
