"""Runs any command: plans its units, works on those that are not committed yet, and commits each.

A command's `Job` defines its units and the work on one. `run_job` does everything else: the folder and its lock, the
recipe, the earlier commits, the mark of an unfinished set, progress, times, the dataset card, clean-up, the report,
totals and damage.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pipelines.cluster.runner import Runner
from pipelines.output.card import write_card
from pipelines.output.claim import claim, is_claimed
from pipelines.output.replacement import finish_replacements
from pipelines.output.totals import RunClock, RunTimes, Totals, add_up_manifests, check_damage
from pipelines.output.writer import commit
from pipelines.recipes.base import Recipe
from pipelines.terminal.progress import Progress
from schemas.activity import report_activity
from schemas.errors import UsageError
from schemas.output_set.layout import CARD, CROISSANT, DATA, MANIFESTS, PARTS, REPORT, UNFINISHED, read_manifests
from schemas.output_set.lock import Lock, lock_output
from schemas.output_set.manifest import Manifest
from schemas.output_set.report import write_report
from schemas.output_set.unit_outputs import get_unit_name
from schemas.storage.folder import Folder


class NamedUnit(Protocol):
    """Describes a unit of work, after which its output is named."""

    @property
    def name(self) -> str:
        """Returns the name of its output, or of the first of several."""
        ...


U = TypeVar("U", bound=NamedUnit)


@dataclass(frozen=True, slots=True)
class Context:
    """Holds what a job needs while it runs."""

    output: Folder
    runner: Runner
    done: Mapping[str, Manifest]
    """The manifests that were committed when the run began, by name."""

    def show_progress(self, title: str, total: int, items: str = "images") -> Progress:
        """Returns the progress display of a step of the run, of the size `total`, which counts `items`."""
        return Progress(title, total, items)


class OutputCommitter:
    """Commits the outputs of a run and holds its progress, its times and its lock."""

    def __init__(
        self,
        output: Folder,
        lock: Lock,
        progress: Progress,
        times: RunTimes,
        commit_output: Callable[[Folder, Manifest], None] = commit,
    ) -> None:
        self.progress, self.times, self.lock = progress, times, lock
        self._output, self._commit = output, commit_output

    @property
    def lock_id(self) -> str:
        """Returns the id of the run in the folder's lock, by which its other processes know it."""
        return self.lock.holder.id

    def check_lock(self) -> None:
        """Raises `ShardloomError` when another run has taken the folder's lock."""
        self.lock.check()

    def commit(self, manifest: Manifest) -> None:
        """Commits an output. Raises `ShardloomError` when another run has taken the folder's lock."""
        self.check_lock()
        self._commit(self._output, manifest)


class Job(ABC, Generic[U]):
    """Defines what differs between commands."""

    recipe: Recipe
    title: str
    """What the command does, as the progress display shows it."""
    items: str = "samples"
    """What the progress display counts."""
    needs_cluster: bool = False
    has_report: bool = True
    """Whether `view` shows its sets, so that its runs end with a report."""

    def settle_recipe(self, output: Folder) -> None:
        """Replaces the recipe by one that a set in this folder stores, where the two differ only in their form."""

    @abstractmethod
    def plan(self, context: Context) -> Sequence[U]:
        """Returns all units in their order, committed or not. Raises `UsageError` for an invalid input."""

    def check_unchanged(self, context: Context, units: Mapping[str, U]) -> None:
        """Raises `UsageError` when the committed outputs, `context.done`, were made from other inputs than `units`."""
        for manifest in context.done.values():
            if what := self.describe_change(units.get(self.get_unit_name(manifest)), manifest):
                raise UsageError(
                    f"{what} changed since {context.output.resolve_path(DATA)}/{manifest.name} was committed: "
                    "use a new output folder"
                )

    def get_unit_name(self, manifest: Manifest) -> str:
        """Returns the name of the unit that a committed output belongs to."""
        return get_unit_name(self.recipe.kind, manifest.name)

    def is_done(self, context: Context, unit: U) -> bool:
        """Returns whether all outputs of the unit are committed."""
        return unit.name in context.done

    def find_leftovers(self, context: Context, unit: U) -> list[str]:
        """Returns the names of an unfinished unit's committed outputs, the first output first.

        `run_job` removes them in this order. The unit is made again as a whole, and its first output committed last.
        """
        return []

    @abstractmethod
    def describe_change(self, unit: U | None, manifest: Manifest) -> str:
        """Returns what has changed since the unit was committed, such as "the images have"; empty when nothing has.

        The unit is None when the input no longer has it.
        """

    def get_progress_size(self, unit: U) -> int:
        """Returns the unit's share of the progress."""
        return 1

    def prepare(self, context: Context, todo: list[U]) -> list[U]:
        """Prepares the run once, before the work on any unit. Returns the units to work on."""
        return todo

    @abstractmethod
    def make_task(self, context: Context) -> Callable[[Any], Manifest | Sequence[Manifest]]:
        """Returns the function that works on one unit, as `load` returns it, and writes its files.

        Ray sends the function to workers, so keep it small. The first of several manifests is committed last: a unit is
        done when its first output is.
        """

    def load(self, todo: list[U]) -> Sequence[Any]:
        """Returns the units as `make_task` takes them. The sequence may make each unit when its turn comes."""
        return todo

    @property
    def is_shared(self) -> bool:
        """Returns whether other runs of the same recipe may work on the set at the same time."""
        return False

    def is_completed_by_others(self, context: Context, manifests: Mapping[str, Manifest]) -> bool:
        """Returns whether runs that share the set work on units that are not committed, and will complete the set."""
        return False

    retries: int = 3
    """How often a unit whose worker has died is retried."""

    def carry_out(self, context: Context, todo: list[U], committer: OutputCommitter) -> None:
        """Works on these units and commits their outputs."""
        sizes = {unit.name: self.get_progress_size(unit) for unit in todo}
        for found in context.runner.map(self.make_task(context), self.load(todo), self.retries):
            manifests = [found] if isinstance(found, Manifest) else list(found)
            for manifest in reversed(manifests):
                committer.commit(manifest)
            committer.progress.items += self.count(manifests)
            committer.progress.advance(sizes[self.get_unit_name(manifests[0])])

    def commit_output(self, output: Folder, manifest: Manifest) -> None:
        """Commits an output whose files exist."""
        commit(output, manifest)

    def count(self, manifests: Iterable[Manifest]) -> int:
        """Returns the number of items in a unit's outputs."""
        return sum(manifest.rows_out for manifest in manifests)

    def clean(self, output: Folder) -> None:
        """Removes the files of work in progress, once all units are committed."""
        output.clear(PARTS)

    def finish(self, context: Context) -> None:
        """Completes the set when all units are committed."""


def run_job(job: Job[U], output: str) -> Totals:
    """Runs a command into an output folder. Outputs that are committed there are not made again.

    Before any work, raises `UsageError` for a folder with another recipe or in use by another run, and for an invalid
    or changed input. Raises `ShardloomError` when the run can't continue, and `DamagedInput` at the end.
    """
    folder, run = Folder(output), job.recipe.run
    with report_activity(f"{job.title}: reading what {folder.url} holds"):
        folder.check_output()
        job.settle_recipe(folder)
        is_claimed(folder, job.recipe)  # before steps that may take minutes
    name = f"{job.recipe.kind} --claim" if job.is_shared else job.recipe.kind
    with lock_output(folder, name, is_shared=job.is_shared) as lock:
        with report_activity(f"{job.title}: reading what {folder.url} holds"):
            if not job.is_shared:  # no retry is at work beside this run, but one may have been killed
                finish_replacements(folder, job.recipe.kind)
            done = read_manifests(folder)
        context = Context(folder, Runner.open(run, needs_cluster=job.needs_cluster), done)
        with report_activity(f"{job.title}: planning the work"):
            units = job.plan(context)
        claim(folder, job.recipe)
        if folder.is_local and not job.is_shared:  # others write such files now
            folder.clear_temporary()
        job.check_unchanged(context, {unit.name: unit for unit in units})
        clock = RunClock()
        if todo := [unit for unit in units if not job.is_done(context, unit)]:
            folder.write(UNFINISHED, b"")
            for name in (REPORT, CROISSANT):  # they describe the set as it was before
                folder.remove(name)
            for name in (name for unit in todo for name in job.find_leftovers(context, unit)):
                folder.remove(f"{MANIFESTS}/{name}.json")
            todo = job.prepare(context, todo)
            with context.show_progress(job.title, sum(map(job.get_progress_size, todo)), job.items) as progress:
                committer = OutputCommitter(folder, lock, progress, clock.times, job.commit_output)
                job.carry_out(context, todo, committer)
        with report_activity(f"{job.title}: completing {folder.url}"), lock.take_turn():
            if todo:
                clock.stop(folder)
            result = complete(job, context, is_changed=bool(todo))
            lock.remove_leftovers()
    result.is_unchanged = not todo
    check_damage(result, run.allow_damaged)
    return result


def complete(job: Job[U], context: Context, is_changed: bool) -> Totals:
    """Writes what a set has once all its outputs are committed, and returns its totals.

    Repeats this also for an earlier run that was killed after its last commit.
    """
    folder = context.output
    manifests = read_manifests(folder)
    if not job.is_completed_by_others(context, manifests):
        if is_changed or folder.list_files(PARTS) or not folder.exists(CARD):
            write_card(folder, job.recipe.kind, manifests)
        job.clean(folder)
        job.finish(context)
        if job.has_report and not folder.exists(REPORT):  # of runs that share a set, the first writes it
            write_report(folder, manifests)
    return add_up_manifests(manifests.values())
