"""Makes training shards of a published set: its files cut into units of work, each unit one shard, or a few large ones.

The outputs of unit 7 are `00000007`, then `00000007_001` and so on where the samples don't fit into one. The first is
committed last: a unit is done when its first output is.
"""

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from curation.document_filters import captioned, filtered
from curation.sources import SOURCES, SourceReader
from curation.tokens import TokenCounter, token_counter
from pipelines.image_store import ImageStore, find, open_stores
from pipelines.ingest_repeats import Repeats, repeated_images
from pipelines.output import DATA, PARTS, begun, commit, committed
from pipelines.progress import Progress
from pipelines.recipe import IngestRecipe
from pipelines.source_files import Item, Stretch, StretchReader, cut_file, source_files
from pipelines.stats import RunClock, Totals, check_damage, totals
from pipelines.storage import Folder
from pipelines.training_writer import Sample, ShardWriter, put_quarantine
from pipelines.units import map_units
from schemas.datacomp import uid_of
from schemas.document import CaptionDraft, Draft, DraftImage
from schemas.errors import UsageError
from schemas.manifest import Manifest
from schemas.quarantine import Reason, Rejected
from schemas.tar_reader import TarSample

FIRST_ROWS = 20  # none of which looks like the source's: then the rest won't either

_FILTERED = {Reason.TOO_SMALL, Reason.EXTREME_ASPECT, Reason.REPEATED_IMAGE, Reason.REPEATED_IMAGE_IN_DOCUMENT}
_NOT_OF_THE_SET = {Reason.MALFORMED_ROW, Reason.MISSING_METADATA, Reason.MISSING_IMAGE}


@dataclass(frozen=True, slots=True)
class Unit:
    """One stretch of the input, and which of its images came before."""

    number: int
    stretch: Stretch
    repeats: Repeats = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its first output; the keys of its samples begin with it."""
        return f"{self.number:08d}"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that does not become a sample."""

    key: str
    uid: str | None
    fault: Rejected


@dataclass(frozen=True, slots=True)
class Made:
    """A sample, and how many of its images were left out, by reason."""

    sample: Sample
    dropped: Counter[Reason]


def ingest(recipe: IngestRecipe, output: str, quiet: bool = False) -> Totals:
    """Writes the shards of all units that are not committed yet."""
    folder = Folder(output)
    reader = SOURCES[recipe.source]
    files = source_files(recipe.input, recipe.source, reader)
    counter = token_counter(recipe.tokenizer, recipe.run.allow_download) if recipe.tokenizer else None
    stores = open_stores(recipe.images)
    with Progress("plan", len(files), "files", quiet) as progress:
        units = plan(recipe, reader, files, progress)
    check_first_rows(recipe, stores, units[0])
    with begun(folder, recipe):
        done = committed(folder)
        work = UnitWork(recipe, folder, stores, counter)
        check_unchanged(work, units, done)
        todo = [unit for unit in units if unit.name not in done]
        clock = RunClock()
        if todo:
            for store in stores:
                store.prepare(folder, recipe.run)
        if todo and recipe.repeated_images != "keep":
            with Progress("find repeats", len(units), "images", quiet) as progress:
                repeats = repeated_images(work.images, units, recipe, progress)
            todo = [replace(unit, repeats=repeats.get(unit.number, {})) for unit in todo]
        with Progress("ingest", len(todo), "samples", quiet) as progress:
            samples = 0
            for manifests in map_units(work, todo, recipe.run):
                for manifest in reversed(manifests):
                    commit(folder, manifest)
                    samples += manifest.rows_out
                progress.advance(1)
                progress.show(samples)
        folder.clear(PARTS)
        if todo:
            clock.stop(folder)
        result = totals(folder)
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


def check_first_rows(recipe: IngestRecipe, stores: list[ImageStore], unit: Unit) -> None:
    """Refuses a set that can't be the one it is called, or whose images are addresses that nothing is known of."""
    faults: list[str] = []
    rows = iter(StretchReader(SOURCES[recipe.source], unit.stretch))
    for number, item in zip(range(FIRST_ROWS), rows, strict=False):
        draft = read_draft(recipe, item)
        if isinstance(draft, Rejected):
            if draft.reason not in _NOT_OF_THE_SET:
                return
            faults.append(f"row {number}: {draft}")
            continue
        if not stores and any(isinstance(image.source, str) for image in images_of(draft)):
            raise UsageError(
                f"{unit.stretch.path}: the images of {recipe.source} are addresses: pass --images with img2dataset "
                "shards of them, a map of URLs to files, or a folder"
            )
        if isinstance(draft, CaptionDraft) or draft.parts:
            return
        faults.append(f"row {number}: neither a text nor an image")
    if faults:
        raise UsageError(
            f"{unit.stretch.path} is not laid out as {recipe.source} is: none of its first {len(faults)} rows makes "
            f"sense ({faults[0]})"
        )


def check_unchanged(work: "UnitWork", units: list[Unit], done: dict[str, Manifest]) -> None:
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


def read_draft(recipe: IngestRecipe, item: Item) -> Draft | CaptionDraft | Rejected:
    """What the source's reader makes of an item."""
    if isinstance(item.content, Rejected):
        return item.content
    try:
        return SOURCES[recipe.source].read(item.content, recipe.read)
    except Rejected as fault:
        return fault


def images_of(draft: Draft | CaptionDraft) -> tuple[DraftImage, ...]:
    """The images of either kind of draft."""
    return (draft.image,) if isinstance(draft, CaptionDraft) else draft.images


class UnitWork:
    """The work on one unit. Pickles, with all that the units share, once for all of them."""

    def __init__(
        self, recipe: IngestRecipe, output: Folder, stores: list[ImageStore], counter: TokenCounter | None
    ) -> None:
        self.recipe, self.output, self.stores = recipe, output, stores
        self.reader = SOURCES[recipe.source]
        self.name = recipe.name or recipe.source
        self.writer = ShardWriter(output, recipe.format, self.reader.is_captions, self.name, counter)
        self.engines = {} if counter is None else {"tokenizer": counter.fingerprint}
        self.recipe_sha256 = recipe.sha256()

    def __call__(self, unit: Unit) -> list[Manifest]:
        """Writes the unit's outputs; they count once their manifests are written."""
        rows = StretchReader(self.reader, unit.stretch)
        shards = Shards(self.outcomes(unit, rows), self.recipe.samples_per_shard, self.recipe.bytes_per_shard)
        manifests: list[Manifest] = []
        while not shards.are_done:
            name = unit.name if not manifests else f"{unit.name}_{len(manifests):03d}"
            written = self.writer.write(name, shards.next())
            outputs = [written.data, written.index, put_quarantine(self.output, name, shards.left_out_rows)]
            account = shards.account()
            manifests.append(
                Manifest(
                    name=name,
                    recipe_sha256=self.recipe_sha256,
                    inputs=[],
                    rows_in=account.rows,
                    rows_out=written.data.rows,
                    reasons=account.reasons,
                    counts=dict(sorted((written.counts | account.counts).items())),
                    outputs=outputs,
                    engines=self.engines,
                )
            )
        inputs = [rows.input, *(store.revision for store in self.stores)]  # known now that all is read
        first, *others = (manifest.model_copy(update={"inputs": inputs}) for manifest in manifests)
        return [first.model_copy(update={"damage": rows.damage}), *others]

    def outcomes(self, unit: Unit, rows: StretchReader) -> Iterator[Made | LeftOut]:
        """What becomes of each row, in their order."""
        shard = unit.stretch.path.rpartition("/")[2].rpartition(".")[0]
        for row, item in enumerate(rows):
            draft = read_draft(self.recipe, item)
            if isinstance(draft, Rejected):
                uid = uid_of(item.content) if isinstance(item.content, TarSample) else None
                yield LeftOut(item.key, uid, draft)
                continue
            try:
                draft = self.without_repeats(self.looked_up(draft), unit.repeats.get(row, frozenset()))
                yield self.made(draft, f"{unit.name}{row:06d}", shard, item.key)
            except Rejected as fault:
                yield LeftOut(item.key, draft.uid, fault)

    def made(self, draft: Draft | CaptionDraft, key: str, shard: str, source_key: str) -> Made:
        """The sample that the draft makes. Raises `Rejected`."""
        filters = self.recipe.filters
        try:
            if isinstance(draft, CaptionDraft):
                return Made(Sample.of(captioned(draft, key, shard, source_key, filters)), Counter())
            found = filtered(draft, key, self.name, filters)
            return Made(Sample.of(found.document), found.dropped)
        except ValueError as error:  # what no reader should let through
            raise Rejected(Reason.MALFORMED_ROW, str(error)) from None

    def looked_up(self, draft: Draft | CaptionDraft) -> Draft | CaptionDraft:
        """The draft with its addresses replaced by what the stores have there."""
        if isinstance(draft, CaptionDraft):
            return replace(draft, image=self._found(draft.image))
        return replace(draft, images=tuple(map(self._found, draft.images)))

    def without_repeats(self, draft: Draft | CaptionDraft, repeats: frozenset[int]) -> Draft | CaptionDraft:
        """The draft, in which images that came before are lost. Raises `Rejected` where that leaves nothing."""
        if not repeats:
            return draft
        fault = Rejected(Reason.REPEATED_IMAGE, "came before in the input")
        if isinstance(draft, CaptionDraft) or self.recipe.filters.repeated_image == "drop_document":
            raise fault
        return replace(
            draft,
            images=tuple(
                replace(image, source=fault) if number in repeats else image
                for number, image in enumerate(draft.images)
            ),
        )

    def images(self, unit: Unit) -> Iterator[tuple[int, int, bytes]]:
        """Row in the unit, number in the row, and file, of each of its images that is there."""
        for row, item in enumerate(StretchReader(self.reader, unit.stretch)):
            draft = read_draft(self.recipe, item)
            if isinstance(draft, Rejected):
                continue
            for number, image in enumerate(images_of(self.looked_up(draft))):
                if isinstance(image.source, bytes):
                    yield row, number, image.source

    def _found(self, image: DraftImage) -> DraftImage:
        if not isinstance(image.source, str):
            return image
        try:
            return replace(image, source=find(self.stores, image.source))
        except Rejected as loss:
            return replace(image, source=loss)


@dataclass(frozen=True, slots=True)
class Account:
    """What one output holds, beside its samples' own counts."""

    rows: int
    reasons: dict[str, int]
    counts: dict[str, int]


class Shards:
    """Cuts a stream of outcomes into shards: a sample that doesn't fit begins the next; one at least is in each."""

    def __init__(self, outcomes: Iterator[Made | LeftOut], samples: int, size: int) -> None:
        self._outcomes, self._samples, self._size = outcomes, samples, size
        self._made: list[tuple[Counter[Reason], int]] = []
        self._left_out: list[LeftOut] = []
        self._held: Made | None = None  # the sample that begins the next shard
        self.are_done = False

    def next(self) -> Iterator[Sample]:
        """The samples of the next shard; the accounts are its own until the one after it is begun."""
        self._made, self._left_out = [], []
        size = 0
        while (outcome := self._held or next(self._outcomes, None)) is not None:
            self._held = None
            if isinstance(outcome, LeftOut):
                self._left_out.append(outcome)
                continue
            size += outcome.sample.size
            if self._made and (len(self._made) == self._samples or size > self._size):
                self._held = outcome
                return
            self._made.append((outcome.dropped, len(outcome.sample.texts)))
            yield outcome.sample
        self.are_done = True

    @property
    def left_out_rows(self) -> list[dict[str, str | None]]:
        """Rows of the quarantine."""
        return [
            {
                "key": row.key,
                "uid": row.uid,
                "stage": "ingest",
                "reason": row.fault.reason.value,
                "detail": row.fault.detail,
            }
            for row in self._left_out
        ]

    def account(self) -> Account:
        """Of the shard that has been written."""
        dropped: Counter[Reason] = sum((dropped for dropped, _ in self._made), Counter())
        counts = {f"dropped_{reason.value}": count for reason, count in dropped.items()}
        counts["lost_images"] = sum(count for reason, count in dropped.items() if reason not in _FILTERED)
        counts["texts"] = sum(texts for _, texts in self._made)
        counts["documents"] = len(self._made)
        reasons = Counter(row.fault.reason.value for row in self._left_out)
        return Account(len(self._made) + len(self._left_out), dict(sorted(reasons.items())), counts)


if __name__ == "__main__":
    import sys

    from pipelines.cli import main

    main(["ingest", *sys.argv[1:]])
