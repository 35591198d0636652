"""Works again on the units of an ingest with quarantined rows, and replaces their outputs.

A row that becomes a sample now may move the samples after it into other shards. So a unit is made again as a whole, by
the same work on the same rows, which gives its other samples the same bytes.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping

from pipelines.ingest.run import IngestJob
from pipelines.ingest.unit import IngestTask, IngestUnit
from pipelines.output.job import Context, OutputCommitter
from pipelines.output.replacement import open_staging, replace_unit
from pipelines.output.retry_round import RetryRound, clear_round, describe_nothing, open_round
from pipelines.recipes.ingest import IngestRecipe
from schemas.errors import UsageError
from schemas.log import LOG
from schemas.output_set.unit_outputs import get_unit_name
from schemas.records.quarantine import Reason
from schemas.storage.folder import Folder


class RetryIngestJob(IngestJob):
    """Works again on the units with quarantined rows."""

    title = "retry"

    def __init__(self, recipe: IngestRecipe, reason: str | None) -> None:
        """`reason` is the only reason to retry; None stands for all."""
        super().__init__(recipe)
        self._reason, self._round = reason, RetryRound(reason, {})
        self._keeps_outputs = False  # of units until others replace them

    def plan(self, context: Context) -> list[IngestUnit]:
        """See `Job`. Plans nothing where no row is retried."""
        held: dict[str, Counter[str]] = defaultdict(Counter)  # a repair may have removed a unit of the round
        for manifest in context.done.values():
            held[get_unit_name(self.recipe.kind, manifest.name)].update(manifest.reasons)

        def can_retry(unit: str) -> bool:
            return bool(held[unit].total() if self._reason is None else held[unit][self._reason])

        self._round = open_round(context.output, self.recipe.kind, context.done, self._reason, can_retry)
        if not self._round.attempts:
            LOG.info(describe_nothing(context.output, context.done, self._reason))
            return []
        if self.recipe.download is not None and any(held[unit][Reason.LOST_IMAGE] for unit in self._round.attempts):
            LOG.warning(f"{context.output.url}: images that `ingest --download` could not get are not asked for again")
        units = super().plan(context)
        if unfinished := [unit.name for unit in units if not super(RetryIngestJob, self).is_done(context, unit)]:
            raise UsageError(
                f"{context.output.url} is not finished: {len(unfinished)} units are missing; the command that made it "
                "resumes it"
            )
        self._keeps_outputs = True
        return units

    def check_unchanged(self, context: Context, units: Mapping[str, IngestUnit]) -> None:
        """See `Job`. Checks nothing where nothing is retried; else the round begins, if nothing has changed."""
        if units:
            super().check_unchanged(context, units)
            self._round.write(context.output)

    def is_done(self, context: Context, unit: IngestUnit) -> bool:
        """See `Job`."""
        return not self._round.is_pending(unit.name, context.done)

    def find_leftovers(self, context: Context, unit: IngestUnit) -> list[str]:
        """See `Job`. The outputs of a unit stay until others replace them."""
        return [] if self._keeps_outputs else super().find_leftovers(context, unit)

    def clean(self, output: Folder) -> None:
        """See `Job`."""
        clear_round(output)

    def make_task(self, context: Context) -> IngestTask:
        """See `Job`. Its outputs are staged."""
        return self._work.write_into(open_staging(context.output))

    def carry_out(self, context: Context, todo: list[IngestUnit], committer: OutputCommitter) -> None:
        """See `Job`. Replaces all outputs of a unit at once."""
        sizes = {unit.name: self.get_progress_size(unit) for unit in todo}
        for found in context.runner.map(self.make_task(context), self.load(todo), self.retries):
            unit = found[0].name
            attempts = {"attempts": context.done[unit].attempts + 1}
            committer.check_lock()
            manifests = [manifest.model_copy(update=attempts) for manifest in found]
            replace_unit(context.output, self.recipe.kind, unit, manifests)
            committer.progress.items += self.count(manifests)
            committer.progress.advance(sizes[unit])
