"""Drives an annotation run, by one driver or several."""

from pipelines.annotate.drivers.claimed import ClaimedRun
from pipelines.annotate.drivers.in_process import run_in_process
from pipelines.annotate.drivers.other_runs import OtherRuns
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
    output, exporter = context.output, context.runner.make_exporter(context.output.url)
    view = RunView(committer.progress, committer.times, exporter, len(shards))
    others = None
    if recipe.run.claim:
        others = OtherRuns(output, shards, committer.lock, view, recipe.run.stall_seconds)
        if not others.wait_for_shards():  # before Ray is started
            return
    plan, preparation = make_plan(recipe, context, shards, reuse)
    preparation.wait(committer.progress)
    if others is None:
        run_in_process(plan, shards, committer, view)
    else:
        ClaimedRun(plan, shards, committer, view, others).carry_out()
