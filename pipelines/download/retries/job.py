"""Asks again for the images of the quarantined rows of a download, and replaces the outputs of their parts.

Parts that rounds of `--retry-failed` have added outputs to become one output again, as if nothing had failed.
"""

import functools
from collections.abc import Mapping
from dataclasses import replace

from pipelines.download.part import MetadataPart
from pipelines.download.retries.merge import RetryTask
from pipelines.download.run import DownloadJob, count_remaining_failures, sort_attempts
from pipelines.img2dataset.failures import is_retryable
from pipelines.output.job import Context
from pipelines.output.replacement import replace_unit
from pipelines.output.retry_round import RetryRound, clear_round, describe_nothing, open_round
from pipelines.recipes.download import DownloadRecipe
from schemas.errors import UsageError
from schemas.log import LOG
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder


class RetryDownloadJob(DownloadJob):
    """Downloads the quarantined rows of a set again."""

    title = "retry"

    def __init__(self, recipe: DownloadRecipe, reason: str | None) -> None:
        """`reason` is the only kind of failure to retry; None stands for all with an address that may be requested."""
        super().__init__(recipe, functools.partial(is_asked, reason))
        self._reason, self._round = reason, RetryRound(reason, {})
        self._rows: dict[str, int] = {}  # rows to retry, by part

    def plan(self, context: Context) -> list[MetadataPart]:
        """See `Job`. Plans nothing where no row is retried."""
        attempts = sort_attempts(context.done)
        self._rows = {part: self._count_rows(list(found.values())) for part, found in attempts.items()}
        self._round = open_round(
            context.output,
            self.recipe.kind,
            context.done,
            self._reason,
            lambda part: any(self._rows.values()) and bool(self._rows[part] or len(attempts[part]) > 1),
        )
        if not self._round.attempts:
            LOG.info(describe_nothing(context.output, context.done, self._reason))
            return []
        units = [
            replace(part, earlier=tuple(manifest.name for manifest in attempts.get(part.name, {}).values()))
            for part in super().plan(context)
        ]
        if unfinished := [unit.name for unit in units if unit.name not in context.done]:
            raise UsageError(
                f"{context.output.url} is not finished: {len(unfinished)} parts are missing; the command that made it "
                "resumes it"
            )
        return units

    def check_unchanged(self, context: Context, units: Mapping[str, MetadataPart]) -> None:
        """See `Job`. Checks nothing where nothing is retried; else the round begins, if nothing has changed."""
        if units:
            super().check_unchanged(context, units)
            self._round.write(context.output)

    def is_done(self, context: Context, unit: MetadataPart) -> bool:
        """See `Job`."""
        return not self._round.is_pending(unit.name, context.done)

    def get_progress_size(self, unit: MetadataPart) -> int:
        """See `Job`. Returns the number of rows to retry."""
        return max(1, self._rows[unit.name])

    def prepare(self, context: Context, todo: list[MetadataPart]) -> list[MetadataPart]:
        """See `Job`."""
        shards = sum(bool(self._rows[unit.name]) for unit in todo)
        LOG.info(f"retry: {sum(self._rows[unit.name] for unit in todo):,} rows of {shards:,} shards")
        return todo

    def make_task(self, context: Context) -> RetryTask:
        """See `Job`."""
        return RetryTask(self.recipe, context.output, self.should_retry)

    def commit_output(self, output: Folder, manifest: Manifest) -> None:
        """See `Job`."""
        replace_unit(output, self.recipe.kind, manifest.name, [manifest])

    def count_asked(self, manifest: Manifest) -> int:
        """See `DownloadJob`."""
        return self._rows[manifest.name]

    def clean(self, output: Folder) -> None:
        """See `Job`."""
        clear_round(output)

    def _count_rows(self, attempts: list[Manifest]) -> int:
        return sum(count for kind, count in count_remaining_failures(attempts).items() if self.should_retry(kind))


def is_asked(reason: str | None, kind: str) -> bool:
    """Returns whether rows that failed for this kind of reason are asked for: those of `reason` alone if it is given.

    Rows without an address that may be requested never are.
    """
    return is_retryable(kind) and reason in (None, kind)
