"""Works again on the quarantined rows of an annotation set, and replaces the outputs of their shards."""

from collections.abc import Mapping

from pipelines.annotate.retries.rows import RetriedRows
from pipelines.annotate.run import AnnotateJob
from pipelines.inputs.shards import InputShard
from pipelines.output.job import Context
from pipelines.output.replacement import replace_unit
from pipelines.output.retry_round import RetryRound, clear_round, describe_nothing, open_round
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.errors import UsageError
from schemas.log import LOG
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder


class RetryAnnotateJob(AnnotateJob):
    """Annotates the quarantined rows of a set again."""

    title = "retry"

    def __init__(self, recipe: AnnotateRecipe, reason: str | None) -> None:
        """`reason` is the only reason to retry; None stands for all."""
        alone = recipe.run.model_copy(update={"drivers": 1, "claim": False, "reuse": None})
        super().__init__(recipe.model_copy(update={"run": alone}))
        self.retried = self._rows = RetriedRows(reason)
        self._round = RetryRound(reason, {})
        self._keys: dict[str, int] = {}  # rows to retry, by shard
        self._shares: dict[str, float] = {}  # of the rows of a shard that are retried

    def plan(self, context: Context) -> list[InputShard]:
        """See `Job`. Plans nothing where no row is retried."""
        self._round = open_round(
            context.output,
            self.recipe.kind,
            context.done,
            self._rows.reason,
            lambda shard: bool(self._count_keys(context, shard)),
        )
        if not self._round.attempts:
            LOG.info(describe_nothing(context.output, context.done, self._rows.reason))
            return []
        units = super().plan(context)
        names = {unit.name for unit in units}
        if missing := [name for name in self._round.attempts if name not in names]:
            raise UsageError(f"{context.output.url}: the input has no shard {missing[0]} any more: put it back first")
        if unfinished := [name for name in names if name not in context.done]:
            raise UsageError(
                f"{context.output.url} is not finished: {len(unfinished)} shards are missing; the command that made it "
                "resumes it"
            )
        return units

    def is_done(self, context: Context, unit: InputShard) -> bool:
        """See `Job`."""
        return not self._round.is_pending(unit.name, context.done)

    def get_progress_size(self, unit: InputShard) -> int:
        """Returns the bytes of the rows that are retried, if all rows are of one size."""
        return max(1, int(unit.get_size() * self._shares.get(unit.name, 1.0)))

    def prepare(self, context: Context, todo: list[InputShard]) -> list[InputShard]:
        """See `Job`. Says how many rows are retried."""
        rows = sum(self._count_keys(context, unit.name) for unit in todo)
        self._shares = {unit.name: self._keys[unit.name] / context.done[unit.name].rows_in for unit in todo}
        LOG.info(f"retry: {rows:,} rows of {len(todo):,} shards")
        return super().prepare(context, todo)

    def commit_output(self, output: Folder, manifest: Manifest) -> None:
        """See `Job`."""
        replace_unit(output, self.recipe.kind, manifest.name, [manifest])

    def clean(self, output: Folder) -> None:
        """See `Job`."""
        clear_round(output)

    def check_unchanged(self, context: Context, units: Mapping[str, InputShard]) -> None:
        """See `Job`. Checks nothing where nothing is retried; else the round begins, if nothing has changed."""
        if units:
            super().check_unchanged(context, units)
            self._round.write(context.output)

    def _count_keys(self, context: Context, shard: str) -> int:
        if shard not in self._keys:
            is_candidate = context.done[shard].reasons or context.done[shard].counts.get("failures")
            self._keys[shard] = len(self._rows.open(context.output, shard).keys) if is_candidate else 0
        return self._keys[shard]
