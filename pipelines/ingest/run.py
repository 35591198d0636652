"""Makes training shards of a published set: its files cut into units of work, each unit one shard, or a few large ones.

Of a unit's outputs the first is committed last: a unit is done when its first output is.
"""

import functools
import sys
from dataclasses import replace

from curation.sources import SOURCES, SourceReader
from curation.tokens import token_counter
from pipelines.cluster.map_units import map_units
from pipelines.ingest.download.run import downloaded_stores
from pipelines.ingest.repeats import repeated_images
from pipelines.ingest.row_watch import RETRIES, row_watch
from pipelines.ingest.stores.open import open_stores
from pipelines.ingest.unit import Unit, UnitWork, images_of, read_draft
from pipelines.inputs.source_files import Stretch, StretchReader, cut_file, source_files
from pipelines.output.output_set import begun, commit
from pipelines.output.totals import RunClock, Totals, check_damage, totals
from pipelines.recipes.ingest import IngestRecipe
from pipelines.terminal.progress import Progress
from schemas.errors import UsageError
from schemas.output_set.layout import DATA, PARTS, UNFINISHED, committed
from schemas.output_set.manifest import Manifest
from schemas.records.document import CaptionDraft
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.folder import Folder

FIRST_ROWS = 20  # none of which looks like the source's: then the rest won't either

_GIVE_STORES = "pass --images with img2dataset shards of them, a map of URLs to files, or a folder; or --download"
_NOT_OF_THE_SET = {Reason.MALFORMED_ROW, Reason.MISSING_METADATA, Reason.MISSING_IMAGE}


def ingest(recipe: IngestRecipe, output: str, quiet: bool = False) -> Totals:
    """Writes the shards of all units that are not committed yet."""
    folder = Folder(output)
    reader = SOURCES.find(recipe.source)
    files = source_files(recipe.input, recipe.source, reader)
    counter = token_counter(recipe.tokenizer, recipe.run.allow_download) if recipe.tokenizer else None
    stores = open_stores(recipe.images)
    with Progress("plan", len(files), "files", quiet) as progress:
        units = plan(recipe, reader, files, progress)
    check_first_rows(recipe, reader, units[0])
    with begun(folder, recipe):
        done = committed(folder)
        todo = [unit for unit in units if unit.name not in done]
        watch = row_watch(recipe.run, len(units) if todo else 0)
        if recipe.download is not None:
            stores = downloaded_stores(recipe, folder, units, watch, quiet)
        work = UnitWork(recipe, folder, stores, counter, watch)
        check_unchanged(work, units, done)
        clock = RunClock()
        if todo:
            folder.write(UNFINISHED, b"")
            for store in stores:
                store.prepare(folder, recipe.run)
        if todo and recipe.repeated_images != "keep":
            with Progress("find repeats", len(units), "images", quiet) as progress:
                repeats = repeated_images(work.images, units, recipe, progress)
            todo = [replace(unit, repeats=repeats.get(unit.number, {})) for unit in todo]
        with Progress("ingest", len(todo), "samples", quiet) as progress:
            samples = 0
            for manifests in map_units(work, todo, recipe.run, RETRIES):
                for manifest in reversed(manifests):
                    commit(folder, manifest)
                    samples += manifest.rows_out
                progress.advance(1)
                progress.show(samples)
        folder.clear(PARTS)
        if todo:
            clock.stop(folder)
        result = totals(folder)
    warn_of_addresses(recipe, result)
    check_damage(result, recipe.run.allow_damaged)
    return result


def plan(recipe: IngestRecipe, reader: SourceReader, files: list[str], progress: Progress) -> list[Unit]:
    """All units, in the order of the files and of the rows in them."""
    stretches: list[Stretch] = []
    for found in map_units(functools.partial(cut_file, reader, recipe.samples_per_shard), files, recipe.run):
        stretches += found
        progress.advance(1)
    if not stretches:
        raise UsageError(f"there is no row in {', '.join(recipe.input)}")
    order = {path: number for number, path in enumerate(files)}
    stretches.sort(key=lambda stretch: (order[stretch.path], stretch.start))
    return [Unit(number, stretch) for number, stretch in enumerate(stretches)]


def check_first_rows(recipe: IngestRecipe, reader: SourceReader, unit: Unit) -> None:
    """Refuses a set that can't be the one it is called, or whose images are addresses that nothing is known of."""
    faults: list[str] = []
    is_sound = False  # one row at least: even so, the images of a later one may be addresses
    rows = iter(StretchReader(reader, unit.stretch))
    for number, item in zip(range(FIRST_ROWS), rows, strict=False):
        draft = read_draft(reader, recipe, item)
        if isinstance(draft, Rejected):
            is_sound |= draft.reason not in _NOT_OF_THE_SET
            faults.append(f"row {number}: {draft}")
            continue
        if not has_store(recipe) and any(isinstance(image.source, str) for image in images_of(draft)):
            raise UsageError(f"{unit.stretch.path}: the images of {recipe.source} are addresses: {_GIVE_STORES}")
        is_sound |= isinstance(draft, CaptionDraft) or bool(draft.parts)
        faults.append(f"row {number}: neither a text nor an image")
    if faults and not is_sound:
        raise UsageError(
            f"{unit.stretch.path} is not laid out as {recipe.source} is: none of its first {len(faults)} rows makes "
            f"sense ({faults[0]})"
        )


def has_store(recipe: IngestRecipe) -> bool:
    """Whether images can be had by their addresses."""
    return bool(recipe.images) or recipe.download is not None


def warn_of_addresses(recipe: IngestRecipe, result: Totals) -> None:
    """Says that images were lost for want of a store: those of a set whose first rows have none are met too late."""
    lost = result.counts[f"dropped_{Reason.LOST_IMAGE}"] + result.reasons[Reason.LOST_IMAGE]
    if lost and not has_store(recipe) and ".tar" not in SOURCES.find(recipe.source).endings:  # tars hold their images
        print(
            f"warning: {lost:,} images were addresses that nothing was known of: {_GIVE_STORES}; "
            "into a new output folder",
            file=sys.stderr,
        )


def check_unchanged(work: UnitWork, units: list[Unit], done: dict[str, Manifest]) -> None:
    """Refuses to go on over inputs that have changed: what is committed would overlap with what is to come."""
    names = {unit.name: unit for unit in units}
    stores = [store.revision for store in work.stores]
    for name, manifest in done.items():
        unit = names.get(name.partition("_")[0])
        expected = None if unit is None else (unit.stretch.label, unit.stretch.size)
        if [(file.path, file.size) for file in manifest.inputs[:1]] != [expected] or manifest.inputs[1:] != stores:
            raise UsageError(
                f"the input or its images have changed since {work.output.path(DATA)}/{name} was committed: "
                "take a new output folder"
            )
        if manifest.engines != work.engines:
            raise UsageError(
                f"the tokenizer has changed since {work.output.path(DATA)}/{name} was committed: "
                "take a new output folder"
            )
