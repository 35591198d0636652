"""Drives an annotation run, by one driver or several."""

from pipelines.annotate.drivers.group import DriverGroup
from pipelines.annotate.drivers.in_process import run_in_process
from pipelines.annotate.drivers.plan import Work as Work
from pipelines.annotate.drivers.plan import make_plan
from pipelines.annotate.drivers.run_view import RunView
from pipelines.output.job import OutputCommitter


def drive(work: Work, committer: OutputCommitter) -> None:
    """Annotates the shards and commits each. Raises `ShardloomError` when the run can't finish."""
    plan, preparation = make_plan(work)
    preparation.wait(committer.progress)
    exporter = work.context.runner.make_exporter(work.context.output.url)
    view = RunView(committer.progress, committer.times, exporter, len(work.todo))
    if plan.drivers == 1:
        run_in_process(plan, work.todo, committer, view)
    else:
        DriverGroup(plan, committer, view).carry_out(work.todo)
