"""Downloads the images of DataComp metadata with img2dataset: one part of a metadata file per task, one shard each.

Failures are recorded in the quarantine and in the shard's side Parquet. `--retry-failed` retries them in a round over
all parts, which writes additional shards: `00000007-r1` beside `00000007`. A committed image is never downloaded or
written again. For a row that was retried, the last attempt counts, in the totals too. A round that was killed leaves a
marker file, so that the same command resumes it.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Self

from pipelines.download.part import DownloadTask, MetadataPart
from pipelines.download.rows import make_metadata_reader
from pipelines.img2dataset.failures import REFUSED, is_retryable, is_transient
from pipelines.img2dataset.placement import plan_download_placement
from pipelines.img2dataset.process import count_requested
from pipelines.inputs.row_choice import describe_other_choice
from pipelines.inputs.source_files import cut_files, list_source_files
from pipelines.output.job import Context, Job, OutputCommitter, run_job
from pipelines.output.totals import Totals
from pipelines.recipes.download import DownloadRecipe
from pipelines.terminal.progress import Progress
from schemas.errors import ShardloomError, UsageError
from schemas.log import LOG
from schemas.output_set.layout import PARTS, UNFINISHED
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder

POLL_SECONDS = 2.0

_ROUND_PREFIX = "retry-"  # prefix of a marker's name, before the number of the retry round


class TooFewImagesError(ShardloomError):
    """Reports that the share of downloaded images is below `min_success`."""


class DownloadJob(Job[MetadataPart]):
    """Downloads metadata rows into image shards in img2dataset's layout."""

    title = "download"
    items = "addresses"
    has_report = False

    def __init__(self, recipe: DownloadRecipe, should_retry: Callable[[str], bool]) -> None:
        """`should_retry` says, by the kind of a failure, whether a later attempt retries it."""
        self.recipe: DownloadRecipe = recipe
        self.should_retry = should_retry

    def plan(self, context: Context) -> list[MetadataPart]:
        """See `Job`."""
        return plan_parts(self.recipe, context)

    def describe_change(self, unit: MetadataPart | None, manifest: Manifest) -> str:
        """See `Job`. With changed metadata, the keys would belong to other rows."""
        choice = None if unit is None else unit.row_range.choice
        is_whole = unit is None or manifest.name == unit.name  # one of `--retry-failed` has some of the unit's rows
        if is_whole and (other := describe_other_choice(self.recipe, choice, manifest.rows_chosen)):
            return other
        was = manifest.inputs[0]
        is_same = unit is not None and (unit.row_range.label, unit.row_range.byte_size) == (was.path, was.size)
        return "" if is_same else "the metadata has"

    def get_progress_size(self, unit: MetadataPart) -> int:
        """See `Job`. Returns the number of its chosen rows."""
        choice = unit.row_range.choice
        return unit.row_range.count_rows() if choice is None else choice.chosen

    def prepare(self, context: Context, todo: list[MetadataPart]) -> list[MetadataPart]:
        """See `Job`."""
        context.output.clear(PARTS, keep=UNFINISHED.removeprefix(f"{PARTS}/"))  # partial shards of killed runs
        return todo

    def make_task(self, context: Context) -> DownloadTask:
        """See `Job`."""
        return DownloadTask(self.recipe, context.output, self.should_retry)

    def carry_out(self, context: Context, todo: list[MetadataPart], committer: OutputCommitter) -> None:
        """See `Job`. Shows progress within parts too, since each may take half an hour."""
        where = plan_download_placement(context.runner, len(todo))
        with ProgressPoller(committer.progress, context.output) as tally:
            for manifest in context.runner.map(self.make_task(context), todo, placement=where):
                committer.commit(manifest)
                tally.committed += self.count_asked(manifest)

    def count_asked(self, manifest: Manifest) -> int:
        """Returns the number of rows that a part of this run has asked for, or has found that it cannot."""
        return manifest.rows_chosen

    def clean(self, output: Folder) -> None:
        """See `Job`. Keeps the marker of a retry round, so that the same command resumes it."""
        if any(name.startswith(_ROUND_PREFIX) for name in output.list_files(PARTS)):
            output.remove(UNFINISHED)
        else:
            output.clear(PARTS)


class RetryJob(DownloadJob):
    """Retries failed rows in a round over all parts: the interrupted round if there is one, else the next."""

    def plan(self, context: Context) -> list[MetadataPart]:
        """See `Job`. Returns the parts of the round that have rows to retry."""
        attempts = sort_attempts(context.done)
        begun = [name for name in context.output.list_files(PARTS) if name.startswith(_ROUND_PREFIX)]
        last = max(number for of_part in attempts.values() for number in of_part)
        self._round = int(begun[0].removeprefix(_ROUND_PREFIX)) if begun else last + 1
        self._rows: dict[str, int] = {}
        failed, units = Counter[str](), []
        for part in plan_parts(self.recipe, context):
            earlier = [manifest for number, manifest in attempts[part.name].items() if number < self._round]
            lost = count_remaining_failures(earlier)
            failed += lost
            unit = replace(part, attempt=self._round, earlier=tuple(manifest.name for manifest in earlier))
            if asked := sum(count for kind, count in lost.items() if self.should_retry(kind)):
                self._rows[unit.name] = asked
                units.append(unit)
        if not units and not begun:
            LOG.info(describe_nothing_to_retry(failed, self.should_retry))
        return units

    def check_unchanged(self, context: Context, units: Mapping[str, MetadataPart]) -> None:
        """See `Job`. Does nothing: the download before this round has checked."""

    def get_progress_size(self, unit: MetadataPart) -> int:
        """See `Job`. Returns the number of rows to retry."""
        return self._rows[unit.name]

    def prepare(self, context: Context, todo: list[MetadataPart]) -> list[MetadataPart]:
        """See `Job`."""
        mark = f"{_ROUND_PREFIX}{self._round}"
        context.output.write(f"{PARTS}/{mark}", b"")
        context.output.clear(PARTS, keep=mark)
        return todo

    def clean(self, output: Folder) -> None:
        """See `Job`."""
        output.clear(PARTS)


def download(recipe: DownloadRecipe, output: str, retry_failed: bool = False, retry_all: bool = False) -> Totals:
    """Downloads every part that is not committed yet; then retries the failures, if asked to.

    `retry_failed` retries transient failures (`failures.is_transient`), `retry_all` every URL that may be requested.
    Raises `ShardloomError` when the run can't complete, and `TooFewImagesError` below `min_success`.
    """
    wanted = is_retryable if retry_all else is_transient
    result = run_job(DownloadJob(recipe, wanted), output)
    if retry_failed or retry_all:
        was_unchanged = result.is_unchanged
        result = run_job(RetryJob(recipe, wanted), output)
        result.is_unchanged &= was_unchanged
    advise(result)
    check_success(result, recipe.run.min_success)
    return result


def check_success(result: Totals, min_success: float) -> None:
    """Raises `TooFewImagesError` when less than this share, 0 to 1, of all images was downloaded."""
    if result.rows_out < min_success * result.rows_chosen:
        reasons = ", ".join(f"{count:,} {kind}" for kind, count in result.reasons.most_common())
        raise TooFewImagesError(
            f"only {result.rows_out:,} of {result.rows_chosen:,} images were downloaded, below min_success, "
            f"{min_success:g} ({reasons}); what was downloaded is kept"
        )


def advise(result: Totals) -> None:
    """Prints what can be done about failed downloads."""
    if passing := sum(count for kind, count in result.reasons.items() if is_transient(kind)):
        LOG.info(f"{passing:,} of the failures may be temporary: --retry-failed retries them")
    if refused := result.reasons[REFUSED]:
        how = "to download from a host of a private network, pass --allow-host NAME with --retry-all"
        LOG.info(f"{refused:,} {REFUSED}: {how}")


def plan_parts(recipe: DownloadRecipe, context: Context) -> list[MetadataPart]:
    """Cuts the metadata into the parts that have chosen rows, in the order of files and rows.

    Raises `UsageError` if there is no row.
    """
    reader = make_metadata_reader(recipe)
    files = list_source_files(recipe.input, "metadata", reader)
    with context.show_progress("plan", len(files), "files") as progress:
        found = cut_files(reader, recipe.urls_per_shard, files, recipe, context.runner, progress)
    if not found:
        raise UsageError(f"there is no row in {', '.join(recipe.input)}")
    return [MetadataPart(number, row_range) for number, row_range in found]


class ProgressPoller:
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
        while not self._is_over.wait(POLL_SECONDS):
            rows = self.committed + count_requested(self._output)
            self._progress.done = min(rows, self._progress.total)
            self._progress.show(self._progress.done)


def sort_attempts(done: Mapping[str, Manifest]) -> dict[str, dict[int, Manifest]]:
    """Returns the outputs of each part by the number of the attempt, in the order of these; 0 is the download."""
    attempts: dict[str, dict[int, Manifest]] = defaultdict(dict)
    for manifest in done.values():
        name, _, attempt = manifest.name.partition("-r")
        attempts[name][int(attempt or 0)] = manifest
    return {name: dict(sorted(found.items())) for name, found in attempts.items()}


def count_remaining_failures(earlier: list[Manifest]) -> Counter[str]:
    """Counts the rows of a part that no attempt has downloaded, by the reason of their last failure."""
    reasons: Counter[str] = Counter()
    for manifest in earlier:
        reasons.subtract(manifest.retried)
        reasons.update(manifest.reasons)
    return reasons


def describe_nothing_to_retry(failed: Counter[str], should_retry: Callable[[str], bool]) -> str:
    """Returns a message that no failure qualifies for a retry, with the counts of failures by kind."""
    found = ", ".join(f"{count:,} {kind}" for kind, count in failed.most_common())
    more = (
        " (--retry-all retries them all)" if should_retry is not is_retryable and any(map(is_retryable, failed)) else ""
    )
    return f"nothing to retry: {found or 'no image failed'}{more}"
