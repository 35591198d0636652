"""Drives an annotation run, by one driver or several."""

from pipelines.annotate.drivers.in_process import run_in_process
from pipelines.annotate.drivers.run_view import RunView
from pipelines.annotate.plan import make_plan
from pipelines.annotate.reuse import Reuse
from pipelines.inputs.shards import InputShard
from pipelines.output.job import Context, OutputCommitter
from pipelines.recipes.annotate import AnnotateRecipe


def drive(
    recipe: AnnotateRecipe,
    context: Context,
    shards: list[InputShard],
    reuse: Reuse | None,
    committer: OutputCommitter,
) -> None:
    """Annotates the shards and commits each. Raises `ShardloomError` when the run can't finish."""
    plan, preparation = make_plan(recipe, context, shards, reuse)
    preparation.wait(committer.progress)
    exporter = context.runner.make_exporter(context.output.url)
    view = RunView(committer.progress, committer.times, exporter, len(shards))
    run_in_process(plan, shards, committer, view)
