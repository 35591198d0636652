"""Drives an annotation run, by one driver or several, alone or beside other runs that share its output set."""

from pipelines.annotate.drivers.claimed import ClaimedRun
from pipelines.annotate.drivers.group import DriverGroup
from pipelines.annotate.drivers.in_process import run_in_process
from pipelines.annotate.drivers.other_runs import OtherRuns
from pipelines.annotate.drivers.plan import Work as Work
from pipelines.annotate.drivers.plan import make_plan
from pipelines.annotate.drivers.run_view import RunView
from pipelines.output.job import OutputCommitter


def drive(work: Work, committer: OutputCommitter) -> None:
    """Annotates the shards and commits each. Raises `ShardloomError` when the run can't finish."""
    run, output = work.recipe.run, work.context.output
    view = RunView(committer.progress, committer.times, work.context.runner.make_exporter(output.url), len(work.todo))
    others = OtherRuns(output, work.todo, committer.lock, view, run.stall_seconds) if run.claim else None
    if others is not None and not others.wait_for_shards():  # before Ray is started
        return
    plan, preparation = make_plan(work)
    preparation.wait(committer.progress)
    if others is not None:
        ClaimedRun(plan, work.todo, committer, view, others).carry_out()
    elif plan.drivers == 1:
        run_in_process(plan, work.todo, committer, view)
    else:
        DriverGroup(plan, committer, view).carry_out(work.todo)
