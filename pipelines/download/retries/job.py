"""Asks again for the images of the quarantined rows of a download, and replaces the outputs of their parts."""

from collections.abc import Mapping

from pipelines.download.part import MetadataPart
from pipelines.download.retries.merge import RetryTask
from pipelines.download.run import DownloadJob
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
        super().__init__(recipe, reason.__eq__ if reason is not None else is_retryable)
        self._reason, self._round = reason, RetryRound(reason, {})
        self._rows: dict[str, int] = {}

    def plan(self, context: Context) -> list[MetadataPart]:
        """See `Job`. Plans nothing where no row is retried."""
        if rounds := [name for name in context.done if "-r" in name]:
            raise UsageError(
                f"{context.output.url} has shards of --retry-failed ({rounds[0]}): retry it by that flag again"
            )
        self._rows = {name: self._count_rows(manifest) for name, manifest in context.done.items()}
        self._round = open_round(
            context.output, self.recipe.kind, context.done, self._reason, lambda name: bool(self._rows[name])
        )
        if not self._round.attempts:
            LOG.info(describe_nothing(context.output, context.done, self._reason))
            return []
        units = super().plan(context)
        if unfinished := [unit.name for unit in units if unit.name not in context.done]:
            raise UsageError(
                f"{context.output.url} is not finished: {len(unfinished)} parts are missing; the command that made it "
                "resumes it"
            )
        self._round.write(context.output)
        return units

    def check_unchanged(self, context: Context, units: Mapping[str, MetadataPart]) -> None:
        """See `Job`. Checks nothing where nothing is retried."""
        if units:
            super().check_unchanged(context, units)

    def is_done(self, context: Context, unit: MetadataPart) -> bool:
        """See `Job`."""
        return not self._round.is_pending(unit.name, context.done)

    def get_progress_size(self, unit: MetadataPart) -> int:
        """See `Job`. Returns the number of rows to retry."""
        return max(1, self._rows[unit.name])

    def prepare(self, context: Context, todo: list[MetadataPart]) -> list[MetadataPart]:
        """See `Job`."""
        LOG.info(f"retry: {sum(self._rows[unit.name] for unit in todo):,} rows of {len(todo):,} shards")
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

    def _count_rows(self, manifest: Manifest) -> int:
        return sum(count for kind, count in manifest.reasons.items() if self.should_retry(kind))
