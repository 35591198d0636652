"""Downloads the images of DataComp's metadata by img2dataset: one part of a metadata file a task, a shard each.

What has failed is in the quarantine and in the shard's side Parquet. `--retry-failed` asks for it again: a round over
all parts, whose shards are further ones, `00000007-r1` beside `00000007`. What is committed is never asked for again
and never written again: of a row that was asked for again the last attempt counts, in the totals as well. A round that
was killed leaves a mark, by which the same command goes on with it.
"""

import functools
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Self

from pipelines.download.part import Part, PartWork
from pipelines.download.rows import metadata_reader
from pipelines.img2dataset.failures import REFUSED, can_be_asked, may_pass
from pipelines.img2dataset.placement import download_placement
from pipelines.img2dataset.process import asked_so_far
from pipelines.inputs.source_files import Stretch, cut_file, source_files
from pipelines.output.job import Commits, Context, Job, run_job
from pipelines.output.totals import Totals
from pipelines.recipes.download import DownloadRecipe
from pipelines.terminal.progress import Progress
from schemas.errors import ShardloomError, UsageError
from schemas.output_set.layout import PARTS, UNFINISHED
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder
from schemas.terminal import say

TALLY_SECONDS = 2.0

_ROUND = "retry-"  # before the number of a round of asking again, in a mark's name


class TooFewImagesError(ShardloomError):
    """Less images were had than `min_success` asks for."""


class DownloadJob(Job[Part]):
    """Metadata in, image shards as img2dataset writes them out."""

    title = "download"
    items = "addresses"

    def __init__(self, recipe: DownloadRecipe, wanted: Callable[[str], bool]) -> None:
        """`wanted` tells by the kind of a failure whether a later attempt asks again."""
        self.recipe: DownloadRecipe = recipe
        self.wanted = wanted

    def plan(self, context: Context) -> list[Part]:
        """See `Job`."""
        return plan(self.recipe, context)

    def changed(self, unit: Part | None, manifest: Manifest) -> str:
        """See `Job`. Keys and shards would be other rows'."""
        was = manifest.inputs[0]
        is_same = unit is not None and (unit.stretch.label, unit.stretch.size) == (was.path, was.size)
        return "" if is_same else "the metadata has"

    def size(self, unit: Part) -> int:
        """See `Job`: the rows of its stretch."""
        assert unit.stretch.stop is not None  # which is for tars alone
        return unit.stretch.stop - unit.stretch.start

    def prepare(self, context: Context, todo: list[Part]) -> list[Part]:
        """See `Job`."""
        context.output.clear(PARTS, but=UNFINISHED.removeprefix(f"{PARTS}/"))  # half a shard each of killed runs
        return todo

    def work(self, context: Context) -> PartWork:
        """See `Job`."""
        return PartWork(self.recipe, context.output, self.wanted)

    def carry_out(self, context: Context, todo: list[Part], commits: Commits) -> None:
        """See `Job`. Progress is told while parts are at work, of which each may take half an hour."""
        where = download_placement(context.runner, len(todo))
        with Tally(commits.progress, context.output) as tally:
            for manifest in context.runner.map(self.work(context), todo, placement=where):
                commits.commit(manifest)
                tally.committed += manifest.rows_in

    def clean(self, output: Folder) -> None:
        """See `Job`. The mark of a round of asking again stays, for the same command to go on with it."""
        if any(name.startswith(_ROUND) for name in output.names(PARTS)):
            output.remove(UNFINISHED)
        else:
            output.clear(PARTS)


class RetryJob(DownloadJob):
    """A round over all parts that asks again for what has failed: the one that was begun, or else the next one."""

    def plan(self, context: Context) -> list[Part]:
        """See `Job`: the parts of the round that have something to ask for, with what they ask for."""
        attempts: dict[str, dict[int, Manifest]] = defaultdict(dict)
        for manifest in context.done.values():
            name, _, attempt = manifest.name.partition("-r")
            attempts[name][int(attempt or 0)] = manifest
        begun = [name for name in context.output.names(PARTS) if name.startswith(_ROUND)]
        last = max(number for of_part in attempts.values() for number in of_part)
        self._round = int(begun[0].removeprefix(_ROUND)) if begun else last + 1
        self._rows: dict[str, int] = {}
        failed, units = Counter[str](), []
        for part in plan(self.recipe, context):
            earlier = [attempts[part.name][number] for number in sorted(attempts[part.name]) if number < self._round]
            lost = left(earlier)
            failed += lost
            unit = replace(part, attempt=self._round, earlier=tuple(manifest.name for manifest in earlier))
            if asked := sum(count for kind, count in lost.items() if self.wanted(kind)):
                self._rows[unit.name] = asked
                units.append(unit)
        if not units and not begun and not context.quiet:
            say(nothing_to_ask(failed, self.wanted))
        return units

    def check_unchanged(self, context: Context, units: Mapping[str, Part]) -> None:
        """See `Job`: the download before this round has checked."""

    def size(self, unit: Part) -> int:
        """See `Job`: the rows that are asked for."""
        return self._rows[unit.name]

    def prepare(self, context: Context, todo: list[Part]) -> list[Part]:
        """See `Job`."""
        mark = f"{_ROUND}{self._round}"
        context.output.write(f"{PARTS}/{mark}", b"")
        context.output.clear(PARTS, but=mark)
        return todo

    def clean(self, output: Folder) -> None:
        """See `Job`."""
        output.clear(PARTS)


def download(
    recipe: DownloadRecipe, output: str, retry_failed: bool = False, retry_all: bool = False, quiet: bool = False
) -> Totals:
    """Downloads every part that is not committed yet; then, if told to, asks again for what has failed so far.

    `retry_failed` asks for what may be had by now (`download_failures.may_pass`), `retry_all` for whatever can be asked
    for. Raises `ShardloomError` when it can't be done to the end, and `TooFewImagesError` for less than `min_success`.
    """
    wanted = can_be_asked if retry_all else may_pass
    result = run_job(DownloadJob(recipe, wanted), output, quiet)
    if retry_failed or retry_all:
        result = run_job(RetryJob(recipe, wanted), output, quiet)
    if not quiet:
        advise(result)
    check_success(result, recipe.run.min_success)
    return result


def check_success(result: Totals, least: float) -> None:
    """Raises `TooFewImagesError` when less than this share of all images was had."""
    if result.rows_out < least * result.rows_in:
        reasons = ", ".join(f"{count:,} {kind}" for kind, count in result.reasons.most_common())
        raise TooFewImagesError(
            f"{result.rows_out:,} of {result.rows_in:,} images were had, less than the {least:g} of all that "
            f"min_success asks for ({reasons}); what is done is kept"
        )


def advise(result: Totals) -> None:
    """Says what can be done about images that were not had."""
    if passing := sum(count for kind, count in result.reasons.items() if may_pass(kind)):
        say(f"{passing:,} of the images that failed may be had later: --retry-failed asks again")
    if refused := result.reasons[REFUSED]:
        how = "--allow-host NAME lets a host of a private network be asked, with --retry-all"
        say(f"{refused:,} {REFUSED}: {how}")


def plan(recipe: DownloadRecipe, context: Context) -> list[Part]:
    """All parts, in the order of the files and of the rows in them."""
    reader = metadata_reader(recipe)
    files = source_files(recipe.input, "metadata", reader)
    stretches: list[Stretch] = []
    with context.progress("plan", len(files), "files") as progress:
        for found in context.runner.map(functools.partial(cut_file, reader, recipe.urls_per_shard), files):
            stretches += found
            progress.items += 1
            progress.advance(1)
    if not stretches:
        raise UsageError(f"there is no row in {', '.join(recipe.input)}")
    stretches.sort(key=lambda stretch: (stretch.path, stretch.start))
    return [Part(number, stretch) for number, stretch in enumerate(stretches)]


class Tally:
    """Keeps the progress up to date while parts are at work, of which each may take half an hour."""

    def __init__(self, progress: Progress, output: Folder) -> None:
        self.committed = 0  # rows
        self._progress, self._output = progress, output
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._is_over.wait(TALLY_SECONDS):
            rows = self.committed + asked_so_far(self._output)
            self._progress.done = min(rows, self._progress.total)
            self._progress.show(self._progress.done)


def left(earlier: list[Manifest]) -> Counter[str]:
    """Rows of a part that no attempt has had, by the reason of their last failure."""
    reasons: Counter[str] = Counter()
    for manifest in earlier:
        reasons.subtract(manifest.retried)
        reasons.update(manifest.reasons)
    return reasons


def nothing_to_ask(failed: Counter[str], wanted: Callable[[str], bool]) -> str:
    """Says that no failure is one of those that were to be asked for again, and what failures there are."""
    found = ", ".join(f"{count:,} {kind}" for kind, count in failed.most_common())
    more = " (--retry-all asks for all)" if wanted is not can_be_asked and any(map(can_be_asked, failed)) else ""
    return f"nothing to ask again: {found or 'no image failed'}{more}"
