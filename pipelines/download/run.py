"""Downloads the images of DataComp metadata with img2dataset: one part of a metadata file per task, one shard each.

Failures are recorded in the quarantine and in the shard's side Parquet. `--retry-failed` retries them in a round over
all parts, which writes additional shards: `00000007-r1` beside `00000007`. A committed image is never downloaded or
written again. For a row that was retried, the last attempt counts, in the totals too. A round that was killed leaves a
marker file, so that the same command resumes it.
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

_ROUND = "retry-"  # prefix of a marker's name, before the number of the retry round


class TooFewImagesError(ShardloomError):
    """Reports that the share of downloaded images is below `min_success`."""


class DownloadJob(Job[Part]):
    """Downloads metadata rows into image shards in img2dataset's layout."""

    title = "download"
    items = "addresses"

    def __init__(self, recipe: DownloadRecipe, wanted: Callable[[str], bool]) -> None:
        """`wanted` says, by the kind of a failure, whether a later attempt retries it."""
        self.recipe: DownloadRecipe = recipe
        self.wanted = wanted

    def plan(self, context: Context) -> list[Part]:
        """See `Job`."""
        return plan(self.recipe, context)

    def changed(self, unit: Part | None, manifest: Manifest) -> str:
        """See `Job`. With changed metadata, the keys would belong to other rows."""
        was = manifest.inputs[0]
        is_same = unit is not None and (unit.stretch.label, unit.stretch.size) == (was.path, was.size)
        return "" if is_same else "the metadata has"

    def size(self, unit: Part) -> int:
        """See `Job`. Returns the number of rows in its range."""
        assert unit.stretch.stop is not None  # None is for tars only
        return unit.stretch.stop - unit.stretch.start

    def prepare(self, context: Context, todo: list[Part]) -> list[Part]:
        """See `Job`."""
        context.output.clear(PARTS, but=UNFINISHED.removeprefix(f"{PARTS}/"))  # partial shards of killed runs
        return todo

    def work(self, context: Context) -> PartWork:
        """See `Job`."""
        return PartWork(self.recipe, context.output, self.wanted)

    def carry_out(self, context: Context, todo: list[Part], commits: Commits) -> None:
        """See `Job`. Shows progress within parts too, since each may take half an hour."""
        where = download_placement(context.runner, len(todo))
        with Tally(commits.progress, context.output) as tally:
            for manifest in context.runner.map(self.work(context), todo, placement=where):
                commits.commit(manifest)
                tally.committed += manifest.rows_in

    def clean(self, output: Folder) -> None:
        """See `Job`. Keeps the marker of a retry round, so that the same command resumes it."""
        if any(name.startswith(_ROUND) for name in output.names(PARTS)):
            output.remove(UNFINISHED)
        else:
            output.clear(PARTS)


class RetryJob(DownloadJob):
    """Retries failed rows in a round over all parts: the interrupted round if there is one, else the next."""

    def plan(self, context: Context) -> list[Part]:
        """See `Job`. Returns the parts of the round that have rows to retry."""
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
        """See `Job`. Does nothing: the download before this round has checked."""

    def size(self, unit: Part) -> int:
        """See `Job`. Returns the number of rows to retry."""
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
    """Downloads every part that is not committed yet; then retries the failures, if asked to.

    `retry_failed` retries transient failures (`failures.may_pass`), `retry_all` every URL that may be requested.
    Raises `ShardloomError` when the run can't complete, and `TooFewImagesError` below `min_success`.
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
    """Raises `TooFewImagesError` when less than this share, 0 to 1, of all images was downloaded."""
    if result.rows_out < least * result.rows_in:
        reasons = ", ".join(f"{count:,} {kind}" for kind, count in result.reasons.most_common())
        raise TooFewImagesError(
            f"only {result.rows_out:,} of {result.rows_in:,} images were downloaded, below min_success, "
            f"{least:g} ({reasons}); what was downloaded is kept"
        )


def advise(result: Totals) -> None:
    """Prints what can be done about failed downloads."""
    if passing := sum(count for kind, count in result.reasons.items() if may_pass(kind)):
        say(f"{passing:,} of the failures may be temporary: --retry-failed retries them")
    if refused := result.reasons[REFUSED]:
        how = "to download from a host of a private network, pass --allow-host NAME with --retry-all"
        say(f"{refused:,} {REFUSED}: {how}")


def plan(recipe: DownloadRecipe, context: Context) -> list[Part]:
    """Cuts the metadata into parts, in the order of files and rows. Raises `UsageError` if there is no row."""
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
    """Polls the number of URLs requested so far, to update the progress while parts run (up to half an hour each)."""

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
    """Counts the rows of a part that no attempt has downloaded, by the reason of their last failure."""
    reasons: Counter[str] = Counter()
    for manifest in earlier:
        reasons.subtract(manifest.retried)
        reasons.update(manifest.reasons)
    return reasons


def nothing_to_ask(failed: Counter[str], wanted: Callable[[str], bool]) -> str:
    """Returns a message that no failure qualifies for a retry, with the counts of failures by kind."""
    found = ", ".join(f"{count:,} {kind}" for kind, count in failed.most_common())
    more = " (--retry-all retries them all)" if wanted is not can_be_asked and any(map(can_be_asked, failed)) else ""
    return f"nothing to retry: {found or 'no image failed'}{more}"
