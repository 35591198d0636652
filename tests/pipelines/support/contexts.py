"""What a job is run with, for parts of jobs that are tested alone."""

from pipelines.cluster.runner import Runner
from pipelines.output.job import Context
from pipelines.recipes.base import RunOptions
from schemas.storage.folder import Folder


def context_of(output: Folder, run: RunOptions) -> Context:
    """The context of a run into an output with nothing in it."""
    return Context(output, Runner.open(run), {})
