"""Converts a published data set into training shards: it cuts the files into units of one shard or a few each."""

import itertools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from curation.sources import SOURCES, SourceReader
from curation.tokens import load_token_counter
from pipelines.cluster.runner import Runner
from pipelines.ingest.download.run import download_stores
from pipelines.ingest.repeats import find_repeated_images
from pipelines.ingest.row_watch import RETRIES, RowWatch, make_row_watch
from pipelines.ingest.stores.open import open_stores
from pipelines.ingest.unit import IngestTask, IngestUnit, get_images, read_row
from pipelines.inputs.row_choice import describe_other_choice
from pipelines.inputs.source_files import cut_files, iterate_items, list_source_files
from pipelines.output.job import Context, Job, run_job
from pipelines.output.totals import Totals
from pipelines.recipes.ingest import IngestRecipe
from pipelines.terminal.progress import Progress
from schemas.errors import UsageError
from schemas.log import LOG
from schemas.output_set.manifest import Manifest
from schemas.output_set.unit_outputs import get_unit_name, make_output_name
from schemas.records.document import ParsedCaptionedImage
from schemas.records.quarantine import Reason, Rejected

FIRST_ROWS = 20  # if none of them has the source's layout, the set is refused
FIRST_SECONDS = 10.0  # CPU seconds for each of them; a slower row is judged when its unit is processed

_GIVE_STORES = "pass --images with img2dataset shards of them, a map of URLs to files, or a folder; or --download"
_LAYOUT_REASONS = {Reason.MALFORMED_ROW, Reason.MISSING_METADATA, Reason.MISSING_IMAGE}


class IngestJob(Job[IngestUnit]):
    """Converts the files of a published set into training shards."""

    title = "ingest"
    retries = RETRIES

    def __init__(self, recipe: IngestRecipe) -> None:
        self.recipe: IngestRecipe = recipe
        self._work: IngestTask
        self._outputs: dict[str, list[str]] | None = None  # those committed when the run started, by unit
        self._chosen: dict[str, int] = {}  # rows chosen in the units that were complete then

    def plan(self, context: Context) -> list[IngestUnit]:
        """See `Job`."""
        recipe, reader = self.recipe, SOURCES.find(self.recipe.source)
        files = list_source_files(recipe.input, recipe.source, reader)
        self._counter = load_token_counter(recipe.tokenizer, recipe.run.allow_download) if recipe.tokenizer else None
        self._stores = open_stores(recipe.images)
        with context.show_progress("plan", len(files), "files") as progress:
            units = plan_units(recipe, reader, files, context.runner, progress)
        check_first_rows(recipe, reader, units[0])
        self._units = units
        return units

    def check_unchanged(self, context: Context, units: Mapping[str, IngestUnit]) -> None:
        """See `Job`. With `download`, downloads the images first, since they are among the inputs."""
        todo = [unit for unit in units.values() if not self.is_done(context, unit)]
        watch = make_row_watch(context.runner, len(units) if todo else 0, self.recipe.run.row_seconds)
        if self.recipe.download is not None:
            self._stores = download_stores(self.recipe, context, list(units.values()), watch)
        self._work = IngestTask(self.recipe, context.output, self._stores, self._counter, watch)
        complete = [unit for unit in units.values() if IngestJob.is_done(self, context, unit)]
        self._chosen = {
            unit.name: sum(context.done[name].rows_chosen for name in IngestJob.find_leftovers(self, context, unit))
            for unit in complete
        }
        super().check_unchanged(context, units)

    def is_done(self, context: Context, unit: IngestUnit) -> bool:
        """See `Job`. Older manifests lack the number of a unit's outputs: for them the number of rows decides."""
        names = self.find_leftovers(context, unit)
        if not names or names != [make_output_name(unit.name, number) for number in range(len(names))]:
            return False
        if len(names) < context.done[unit.name].unit_outputs:
            return False
        rows = sum(context.done[name].rows_in for name in names)
        return unit.row_range.stop is None or rows >= unit.row_range.stop - unit.row_range.start

    def find_leftovers(self, context: Context, unit: IngestUnit) -> list[str]:
        """See `Job`. Returns all committed outputs of the unit, the first output first."""
        if self._outputs is None:
            self._outputs = defaultdict(list)
            for name in sorted(context.done, key=lambda name: (len(name), name)):
                self._outputs[get_unit_name(self.recipe.kind, name)].append(name)
        return self._outputs[unit.name]

    def get_progress_size(self, unit: IngestUnit) -> int:
        """See `Job`. Counts the chosen rows, where the recipe chooses any."""
        choice = unit.row_range.choice
        return 1 if choice is None else choice.chosen

    def describe_change(self, unit: IngestUnit | None, manifest: Manifest) -> str:
        """See `Job`."""
        choice = None if unit is None else unit.row_range.choice
        committed = manifest.rows_chosen if unit is None else self._chosen.get(unit.name)
        if committed is not None and (other := describe_other_choice(self.recipe, choice, committed)):
            return other
        expected = None if unit is None else (unit.row_range.label, unit.row_range.byte_size)
        stores = [store.revision for store in self._stores]
        if [(file.path, file.size) for file in manifest.inputs[:1]] != [expected] or manifest.inputs[1:] != stores:
            return "the input or its images have"
        return "" if manifest.fingerprints == self._work.fingerprints else "the tokenizer has"

    def prepare(self, context: Context, todo: list[IngestUnit]) -> list[IngestUnit]:
        """See `Job`. Searches all units for repeated images, including those that are committed."""
        for store in self._stores:
            store.prepare(context.output, context.runner)
        if self.recipe.repeated_images == "keep":
            return todo
        units = self._units
        with context.show_progress("find repeats", len(units)) as progress:
            repeats = find_repeated_images(self._work.iterate_images, units, self.recipe, context.runner, progress)
        return [replace(unit, repeats=repeats.get(unit.number, {})) for unit in todo]

    def make_task(self, context: Context) -> IngestTask:
        """See `Job`."""
        return self._work


def ingest(recipe: IngestRecipe, output: str) -> Totals:
    """Writes the shards of all units that are not committed yet. Returns the totals of the output set."""
    result = run_job(IngestJob(recipe), output)
    warn_of_addresses(recipe, result)
    return result


def plan_units(
    recipe: IngestRecipe, reader: SourceReader, files: list[str], runner: Runner, progress: Progress
) -> list[IngestUnit]:
    """Cuts the files into the units that have chosen rows. Raises `UsageError` if there is none."""
    found = cut_files(reader, recipe.samples_per_shard, files, recipe, runner, progress)
    if not found:
        raise UsageError(f"there is no row in {', '.join(recipe.input)}")
    return [IngestUnit(number, row_range) for number, row_range in found]


def check_first_rows(recipe: IngestRecipe, reader: SourceReader, unit: IngestUnit) -> None:
    """Checks the first rows. Raises `UsageError` for another layout than the source's, or for URLs without a store."""
    faults: list[str] = []
    is_sound = False  # set by the first good row; the loop continues, since a later row may have URLs
    watch = RowWatch(None, min(FIRST_SECONDS, recipe.run.row_seconds))
    rows = iterate_items(reader, unit.row_range)
    for number, item in enumerate(itertools.islice(rows, FIRST_ROWS)):
        parsed = read_row(reader, recipe, item, watch)
        if isinstance(parsed, Rejected):
            is_sound |= parsed.reason not in _LAYOUT_REASONS
            faults.append(f"row {number}: {parsed}")
            continue
        if not has_store(recipe) and any(isinstance(image.source, str) for image in get_images(parsed)):
            raise UsageError(f"{unit.row_range.path}: {recipe.source} holds URLs in place of images: {_GIVE_STORES}")
        is_sound |= isinstance(parsed, ParsedCaptionedImage) or bool(parsed.parts)
        faults.append(f"row {number}: neither a text nor an image")
    if faults and not is_sound:
        raise UsageError(
            f"{unit.row_range.path} does not have the layout of {recipe.source}: none of its first {len(faults)} rows "
            f"fits it ({faults[0]})"
        )


def has_store(recipe: IngestRecipe) -> bool:
    """Returns whether the recipe says where images are found by their URLs."""
    return bool(recipe.images) or recipe.download is not None


def warn_of_addresses(recipe: IngestRecipe, result: Totals) -> None:
    """Warns that images were lost without a store: `check_first_rows` misses URLs that first occur in later rows."""
    lost = result.counts[f"dropped_{Reason.LOST_IMAGE}"] + result.reasons[Reason.LOST_IMAGE]
    if lost and not has_store(recipe) and ".tar" not in SOURCES.find(recipe.source).endings:  # tars hold their images
        LOG.info(
            f"warning: {lost:,} images were lost, because the set holds only their URLs: {_GIVE_STORES}; "
            "use a new output folder"
        )
