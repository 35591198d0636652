"""Finds the Python environments that a run's engines need, and checks that they are built here. Needs no Ray."""

from collections.abc import Iterable, Mapping

from curation.engines.stages import StageName
from pipelines.cluster.runner import Runner
from pipelines.engines.loader import find_environment
from pipelines.environments.python import get_completion_mark
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.errors import UsageError


def check_environments(recipe: AnnotateRecipe, runner: Runner) -> None:
    """Raises `UsageError` for an environment that is not built here. `plan_placements` checks an external cluster."""
    if runner.uses_external_cluster:
        return
    for stage, name in find_environments(recipe, recipe.stages).items():
        if not get_completion_mark(name).exists():
            raise UsageError(describe_missing(recipe, stage, name, "is not built"))


def find_environments(recipe: AnnotateRecipe, stages: Iterable[StageName]) -> Mapping[StageName, str]:
    """Returns the names of the separate environments that these engines need, by stage."""
    named = ((stage, find_environment(stage, recipe.stages[stage])) for stage in stages)
    return {stage: name for stage, name in named if name is not None}


def describe_missing(recipe: AnnotateRecipe, stage: StageName, name: str, what: str) -> str:
    """Returns the message for an environment that is missing; `what` says where."""
    return (
        f"engines.{stage}: {recipe.stages[stage].engine} runs in an environment of its own, which {what}: "
        f"shardloom engines --build {name}"
    )
