"""Finds the Python environments that a run's engines need, and checks that they are built here. Needs no Ray."""

from collections.abc import Iterable, Mapping

from curation.engines.kinds import EngineKind
from pipelines.cluster.runner import Runner
from pipelines.engines.loader import find_environment
from pipelines.environments.python import get_completion_mark
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.errors import UsageError


def check_environments(recipe: AnnotateRecipe, runner: Runner) -> None:
    """Raises `UsageError` for an environment that is not built here. `plan_placements` checks an external cluster."""
    if runner.uses_external_cluster:
        return
    for kind, name in find_environments(recipe, recipe.engines).items():
        if not get_completion_mark(name).exists():
            raise UsageError(describe_missing(recipe, kind, name, "is not built"))


def find_environments(recipe: AnnotateRecipe, kinds: Iterable[EngineKind]) -> Mapping[EngineKind, str]:
    """Returns the names of the separate environments that these engines need, by kind."""
    named = ((kind, find_environment(kind, recipe.engines[kind])) for kind in kinds)
    return {kind: name for kind, name in named if name is not None}


def describe_missing(recipe: AnnotateRecipe, kind: EngineKind, name: str, what: str) -> str:
    """Returns the message for an environment that is missing; `what` says where."""
    return (
        f"engines.{kind}: {recipe.engines[kind].engine} runs in an environment of its own, which {what}: "
        f"shardloom engines --build {name}"
    )
