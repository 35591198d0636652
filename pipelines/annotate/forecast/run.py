"""Forecasts an annotation run: draws a sample, runs the probe, estimates, and keeps the numbers beside the output."""

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.annotate.forecast.facts import collect_facts
from pipelines.annotate.forecast.forecast import Forecast, ProbeTimes, estimate_run
from pipelines.annotate.forecast.options import ForecastOptions
from pipelines.annotate.forecast.plan_file import PROBE, open_plan_folder, write_plan
from pipelines.annotate.forecast.sample import SampleDrawer, draw_shards
from pipelines.annotate.run import AnnotateJob
from pipelines.annotate.settings import settle_settings
from pipelines.inputs.shards import InputShard, choose_samples, list_input_shards
from pipelines.output.job import Context, OutputCommitter, run_job
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.errors import UsageError
from schemas.storage.folder import Folder

if TYPE_CHECKING:
    from pipelines.annotate.forecast.probe import Probe

FIRST = "first"  # how the name of the first shard begins


class ProbeJob(AnnotateJob):
    """Annotates the samples of a probe, into a set of their own."""

    title = "plan"

    def __init__(self, recipe: AnnotateRecipe, drawer: SampleDrawer, images: Folder, seconds: float) -> None:
        super().__init__(recipe)
        self._drawer, self._images, self._seconds = drawer, images, seconds
        self._began = math.nan
        self.probe: Probe | None = None

    def prepare(self, context: Context, todo: list[InputShard]) -> list[InputShard]:
        """See `Job`. The time of a run begins here."""
        self._began = time.monotonic()
        return super().prepare(context, todo)

    def carry_out(self, context: Context, todo: list[InputShard], committer: OutputCommitter) -> None:
        """See `Job`."""
        context.runner.check_address()
        from pipelines.annotate.drivers.plan import Work  # imports Ray Data, as in `AnnotateJob`
        from pipelines.annotate.forecast.probe import Prober

        prober = Prober(self._drawer, self._images, self._seconds, self._began)
        self.probe = prober.carry_out(Work(self.recipe, context, self._shards, todo, None), committer)


def forecast(recipe: AnnotateRecipe, output: str, options: ForecastOptions | None = None) -> Forecast:
    """Forecasts the run of a recipe into this output, and keeps the forecast beside it. Annotates about a minute.

    Raises `UsageError` for a recipe that cannot run, or one that reuses annotations.
    """
    options = options or ForecastOptions()
    if recipe.run.reuse is not None:
        raise UsageError("--plan: a run that reuses annotations cannot be planned: plan its engines without --add")
    imports = import_drivers()
    shards = choose_samples(list_input_shards(recipe.input, ".tar"), recipe)
    options = options.model_copy(update={"images": options.images or count_chosen(shards)})
    place = open_plan_folder(output) / PROBE
    place.clear("")
    images, annotations = place / "images", place / "annotations"
    drawer = SampleDrawer(shards, find_unit(recipe), options.seed)
    if not draw_shards(drawer, images, FIRST, 1):
        raise UsageError("--plan: the input has no readable sample")
    probed = build_probe_recipe(recipe, images)
    job = ProbeJob(probed, drawer, images, options.seconds)
    try:
        run_job(job, annotations.url)
        assert job.probe is not None, "the output was new"
        facts = collect_facts(annotations, recipe, drawer.drawn_bytes)
    finally:
        place.clear("")
    probe, times = job.probe, job.probe.round
    measured = ProbeTimes(
        probe.stages,
        probe.groups,
        drawer.length,
        probe.slice_unit,
        imports + probe.start,
        times.closing,
        times.times,
        dict(times.peaks),
    )
    recipe_sha256 = settle_settings(recipe, Folder(output)).compute_sha256()
    found = estimate_run(recipe_sha256, recipe.chunk, measured, facts, drawer.total_bytes, options)
    write_plan(output, found)
    return found


def count_chosen(shards: Sequence[InputShard]) -> int | None:
    """Returns the samples that `limit` or `sample` chooses; None if the recipe has neither."""
    return sum(shard.choice.chosen for shard in shards if shard.choice is not None) or None


def import_drivers() -> float:
    """Imports what drives a run. Returns the seconds, which are part of a run's time: it does so when it has begun."""
    began = time.monotonic()
    import pipelines.annotate.drivers.run  # noqa: F401  imports Ray Data

    return time.monotonic() - began


def find_unit(recipe: AnnotateRecipe) -> int:
    """Returns the samples of a chunk of the probe: whole batches of every pool, as slices have, or a whole chunk."""
    from pipelines.annotate.pools import DECODE_BATCH  # imports Ray

    batches = math.lcm(DECODE_BATCH, *(engine.batch_size for engine in recipe.stages.values()))
    return min(batches, recipe.chunk.samples)


def build_probe_recipe(recipe: AnnotateRecipe, images: Folder) -> AnnotateRecipe:
    """Returns the recipe of the probe: with the run's engines and pools, over the sample in small chunks.

    Damage is allowed, and no image of the sample is left out, for repeating another one or by its place.
    """
    chunk = recipe.chunk.model_copy(update={"samples": find_unit(recipe)})
    run = recipe.run.model_copy(update={"claim": False, "drivers": 1, "allow_damaged": True, "output": None})
    filters = recipe.filters.model_copy(update={"repeated_images": False})
    update = {"input": [f"{images.url}/*.tar"], "chunk": chunk, "run": run, "filters": filters}
    return recipe.model_copy(update=update | {"limit": None, "sample": None, "seed": 0})
