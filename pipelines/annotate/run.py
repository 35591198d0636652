"""Runs the main job, which turns image shards into an annotation set.

read (one task per shard) -> decode, tags, ocr, boxes, captions (one actor pool each; the last pool writes one part per
chunk) -> commit (by the driver, shard by shard)
"""

from collections.abc import Callable, Mapping
from typing import Any

from pipelines.annotate.claims.claim_folder import has_unfinished_claims
from pipelines.annotate.devices import check_devices
from pipelines.annotate.environments import check_environments
from pipelines.annotate.retries.rows import RetriedRows
from pipelines.annotate.reuse import Reuse, find_reuse
from pipelines.annotate.settings import settle_settings
from pipelines.engines.loader import ask_servers, check_engines, check_settings, fetch_weights
from pipelines.inputs.row_choice import describe_other_choice
from pipelines.inputs.shards import InputShard, choose_samples, list_input_shards
from pipelines.output.job import Context, Job, OutputCommitter, run_job
from pipelines.output.totals import Totals
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.log import LOG
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder


class AnnotateJob(Job[InputShard]):
    """Annotates image shards."""

    title = "annotate"
    items = "images"
    needs_cluster = True

    def __init__(self, recipe: AnnotateRecipe) -> None:
        self.recipe: AnnotateRecipe = recipe
        self._reuse: Reuse | None = None
        self._shards: list[InputShard] = []  # all of the input
        self.retried: RetriedRows | None = None  # of a committed set, to work on alone; None: all rows

    @property
    def is_shared(self) -> bool:
        """See `Job`."""
        return self.recipe.run.claim

    def is_completed_by_others(self, context: Context, manifests: Mapping[str, Manifest]) -> bool:
        """See `Job`. Others may know shards that came into the input since this run began."""
        return self.is_shared and has_unfinished_claims(context.output, manifests)

    def settle_recipe(self, output: Folder) -> None:
        """See `Job`."""
        self.recipe = settle_settings(self.recipe, output)

    def plan(self, context: Context) -> list[InputShard]:
        """See `Job`."""
        shards = self._shards = choose_samples(list_input_shards(self.recipe.input, ".tar"), self.recipe)
        check_settings(self.recipe)
        self._reuse = find_reuse(self.recipe, shards)
        reused = self._reuse.stages if self._reuse else ()
        for notice in check_engines(self.recipe.stages, reused):
            LOG.info(notice)
        check_devices(self.recipe, context.runner, reused)
        check_environments(self.recipe, context.runner)
        if not all(self.is_done(context, shard) for shard in shards):
            for notice in ask_servers(self.recipe.stages, reused):  # before the set has a recipe with a wrong model
                LOG.warning(notice)
        return shards

    def describe_change(self, unit: InputShard | None, manifest: Manifest) -> str:
        """See `Job`. A shard that has left the input is not a change: the set keeps its annotations.

        Where rows are chosen it is one, as is another number of them: the choice would be another one now.
        """
        choice = None if unit is None else unit.choice
        if other := describe_other_choice(self.recipe, choice, manifest.rows_chosen):
            return other
        if unit is None or unit.get_size() == (size := manifest.inputs[0].size):
            return ""
        return f"{unit.path} ({size:,} bytes then, {unit.get_size():,} now) has"

    def get_progress_size(self, unit: InputShard) -> int:
        """Returns the size of the shard's chosen samples in bytes."""
        return unit.estimate_chosen_size()

    def prepare(self, context: Context, todo: list[InputShard]) -> list[InputShard]:
        """See `Job`. Says what the run is about, and fetches weights, before Ray is started."""
        left = f"{len(todo):,} of {len(todo) + len(context.done):,}" if context.done else f"{len(todo):,}"
        LOG.info(f"annotate: reading {left} shards for {', '.join(self.recipe.stages)}")
        reused = self._reuse.stages if self._reuse else ()
        if not context.runner.uses_external_cluster:  # whose nodes each fetch their own
            fetch_weights(self.recipe.stages, reused)
        return todo

    def make_task(self, context: Context) -> Callable[[Any], Manifest]:
        """Raises `AssertionError`: `carry_out` runs a Ray Data graph instead of tasks."""
        raise AssertionError("annotate runs a graph")

    def carry_out(self, context: Context, todo: list[InputShard], committer: OutputCommitter) -> None:
        """See `Job`."""
        context.runner.check_address()
        from pipelines.annotate.drivers.run import Work, drive  # imports Ray Data, a second that no wrong recipe takes

        drive(Work(self.recipe, context, self._shards, todo, self._reuse, self.retried), committer)


def annotate(recipe: AnnotateRecipe, output: str) -> Totals:
    """Annotates every shard that is not committed yet. Raises `ShardloomError` when the run can't finish."""
    return run_job(AnnotateJob(recipe), output)
