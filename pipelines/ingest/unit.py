"""Processes one unit of an ingest: each row becomes a sample or a quarantined row, and samples are cut into shards.

The outputs of unit 7 are `00000007`, then `00000007_001` and so on where the samples do not fit into one shard.
"""

import copy
import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from curation.documents.filters import build_captioned_image, filter_document
from curation.sources import SOURCES, SourceReader
from curation.tokens import TokenCounter
from pipelines.ingest.outcomes import IngestedSample, LeftOutRow, ShardSplitter
from pipelines.ingest.repeats import Repeats
from pipelines.ingest.row_watch import RowWatch
from pipelines.ingest.stores.store import ImageStore, find_image
from pipelines.inputs.source_files import Item, RowRange, iterate_items, read_row_range
from pipelines.inputs.summarised_iterator import SummarisedIterator
from pipelines.output.training_shards import Record, ShardWriter, list_parts, make_sample, sum_counts
from pipelines.output.writer import write_quarantine
from pipelines.recipes.ingest import IngestRecipe
from schemas.errors import ShardloomError
from schemas.layouts.datacomp import read_uid
from schemas.output_set.manifest import HIDDEN_FILES, Manifest
from schemas.output_set.unit_outputs import make_output_name
from schemas.records.document import ParsedCaptionedImage, ParsedDocument, ParsedImage
from schemas.records.quarantine import QuarantinedRow, Reason, Rejected
from schemas.storage.folder import Folder
from schemas.tar.reader import TarSample

STAGE = "ingest"


@dataclass(frozen=True, slots=True)
class IngestUnit:
    """Represents one row range of the input, and which of its images repeat earlier ones."""

    number: int
    row_range: RowRange
    repeats: Repeats = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Returns the name of its first output, with which the keys of its samples begin."""
        return f"{self.number:08d}"


class IngestTask:
    """Processes one unit. It is pickled once for all units, with everything that they share.

    It carries the source's reader, so that a worker needs no registry; the worker must be able to import the module of
    a source given by `--trust-code`.
    """

    def __init__(
        self,
        recipe: IngestRecipe,
        output: Folder,
        stores: list[ImageStore],
        counter: TokenCounter | None,
        watch: RowWatch,
    ) -> None:
        self.recipe, self.output, self.stores, self.watch = recipe, output, stores, watch
        self.reader = SOURCES.find(recipe.source)
        self.name = recipe.name or self.reader.name
        self.counter, tokenizer = counter, None if counter is None else counter.fingerprint
        self.writer = ShardWriter(output, recipe.format, self.reader.is_captions, tokenizer)
        self.fingerprints = {} if tokenizer is None else {"tokenizer": tokenizer}
        self.recipe_sha256 = recipe.compute_sha256()

    def __call__(self, unit: IngestUnit) -> list[Manifest]:
        """Writes the unit's outputs and returns their manifests; they take effect once the caller commits these."""
        rows = SummarisedIterator(read_row_range(self.reader, unit.row_range))
        shards = ShardSplitter(
            self.process_rows(unit, rows), self.recipe.samples_per_shard, self.recipe.bytes_per_shard
        )
        manifests: list[Manifest] = []
        choice = unit.row_range.choice
        while not shards.is_done:
            name = make_output_name(unit.name, len(manifests))
            written = self.writer.write(name, shards.take_next())
            account = shards.summarise()
            counts = sum_counts(written.rows, with_tokens=self.counter is not None)
            manifests.append(
                Manifest.build(
                    name,
                    self.recipe_sha256,
                    inputs=[],
                    rows_in=account.rows,
                    data=written.data,
                    others=[written.index, write_quarantine(self.output, name, account.quarantined)],
                    reasons=[row.reason for row in account.quarantined],
                    left_out={} if choice is None else {choice.option: account.left_out},
                    counts=dict(sorted((counts | account.counts).items())),
                    fingerprints=self.fingerprints,
                )
            )
        check_all_rows_accounted(unit, rows.summary.rows, manifests)
        inputs = [rows.summary.input, *(store.revision for store in self.stores)]  # known only after all rows are read
        first, *others = (manifest.model_copy(update={"inputs": inputs}) for manifest in manifests)
        hidden = {HIDDEN_FILES: rows.summary.hidden_files} if rows.summary.hidden_files else {}
        update = {
            "damage": rows.summary.damage + self._get_store_damage(unit),
            "counts": dict(sorted((first.counts | hidden).items())),
            "unit_outputs": len(manifests),
        }
        return [first.model_copy(update=update), *others]

    def write_into(self, output: Folder) -> "IngestTask":
        """Returns the task that does the same work and writes into another folder."""
        task = copy.copy(self)
        task.output, task.writer = output, replace(self.writer, output=output)
        return task

    def _get_store_damage(self, unit: IngestUnit) -> list[str]:
        """Returns the damage of the image stores, which is told once, with the first unit."""
        return [line for store in self.stores for line in store.damage] if unit.number == 0 else []

    def process_rows(
        self, unit: IngestUnit, rows: Iterable[Item]
    ) -> Iterator[IngestedSample | QuarantinedRow | LeftOutRow]:
        """Yields what each row becomes, in order."""
        shard = unit.row_range.path.rpartition("/")[2].rpartition(".")[0]
        watched = self.watch.watch_rows("ingest", unit.name, unit.row_range, rows)
        for row, (item, is_chosen) in enumerate(zip(watched, unit.row_range.mark_rows(), strict=False)):
            if not is_chosen:
                yield LeftOutRow()
                continue
            parsed = read_row(self.reader, self.recipe, item, self.watch)
            if isinstance(parsed, Rejected):
                uid = read_uid(item.content) if isinstance(item.content, TarSample) else None
                yield QuarantinedRow.from_rejected(item.key, uid, STAGE, parsed)
                continue
            repeats, key = unit.repeats.get(row, frozenset()), f"{unit.name}{row:06d}"
            work = functools.partial(self._process_row, parsed, repeats, key, shard, item.key)
            try:
                made = self.watch.run_within_limit(work)
            except Rejected as fault:
                yield QuarantinedRow.from_rejected(item.key, parsed.uid, STAGE, fault)
            else:
                yield made

    def _process_row(
        self,
        parsed: ParsedDocument | ParsedCaptionedImage,
        repeats: frozenset[int],
        key: str,
        shard: str,
        source_key: str,
    ) -> IngestedSample:
        return self.make_sample(self.drop_repeats(self.look_up_images(parsed), repeats), key, shard, source_key)

    def make_sample(
        self, parsed: ParsedDocument | ParsedCaptionedImage, key: str, shard: str, source_key: str
    ) -> IngestedSample:
        """Makes a sample from a parsed row. Raises `Rejected` if a filter or the layout refuses it."""
        filters, limits = self.recipe.filters, self.recipe.read.limits
        try:
            if isinstance(parsed, ParsedCaptionedImage):
                image = build_captioned_image(parsed, key, shard, source_key, filters, limits)
                return replace(
                    self._store_record(image, Counter()), has_unreadable_metadata=parsed.has_unreadable_metadata
                )
            found = filter_document(parsed, key, self.name, filters, limits)
            return self._store_record(found.document, found.dropped)
        except ValueError as error:  # a reader should have refused it
            raise Rejected(Reason.MALFORMED_ROW, str(error)) from None

    def _store_record(self, record: Record, dropped: Counter[Reason]) -> IngestedSample:
        texts = sum(isinstance(part, str) for part in list_parts(record))
        return IngestedSample(make_sample(record, self.name, self.counter), texts, dropped)

    def look_up_images(self, parsed: ParsedDocument | ParsedCaptionedImage) -> ParsedDocument | ParsedCaptionedImage:
        """Returns the parsed row with each URL or file name replaced by its file, or by `Rejected` if there is none."""
        if isinstance(parsed, ParsedCaptionedImage):
            return replace(parsed, image=self._look_up_image(parsed.image))
        return replace(parsed, images=tuple(map(self._look_up_image, parsed.images)))

    def drop_repeats(
        self, parsed: ParsedDocument | ParsedCaptionedImage, repeats: frozenset[int]
    ) -> ParsedDocument | ParsedCaptionedImage:
        """Returns the parsed row without its repeated images. Raises `Rejected` where they rule out the whole row."""
        if not repeats:
            return parsed
        fault = Rejected(Reason.REPEATED_IMAGE, "came before in the input")
        if isinstance(parsed, ParsedCaptionedImage) or self.recipe.filters.repeated_image == "drop_document":
            raise fault
        return replace(
            parsed,
            images=tuple(
                replace(image, source=fault) if number in repeats else image
                for number, image in enumerate(parsed.images)
            ),
        )

    def iterate_images(self, unit: IngestUnit) -> Iterator[tuple[int, int, bytes]]:
        """Yields row in the unit, number in the row and file of each image that is available."""
        rows = iterate_items(self.reader, unit.row_range)
        watched = self.watch.watch_rows("repeats", unit.name, unit.row_range, rows)
        for row, (item, is_chosen) in enumerate(zip(watched, unit.row_range.mark_rows(), strict=False)):
            if not is_chosen:
                continue
            parsed = read_row(self.reader, self.recipe, item, self.watch)
            if isinstance(parsed, Rejected):
                continue
            for number, image in enumerate(get_images(self.look_up_images(parsed))):
                if isinstance(image.source, bytes):
                    yield row, number, image.source

    def _look_up_image(self, image: ParsedImage) -> ParsedImage:
        if not isinstance(image.source, str):
            return image
        try:
            return replace(image, source=find_image(self.stores, image.source))
        except Rejected as loss:
            return replace(image, source=loss)


def check_all_rows_accounted(unit: IngestUnit, rows: int, manifests: Sequence[Manifest]) -> None:
    """Raises `ShardloomError` unless the unit's outputs account for this number of rows.

    The outputs count what came out of the unit, so that each balances by itself, whatever was lost before.
    """
    accounted = sum(manifest.rows_in for manifest in manifests)
    if accounted != rows:
        raise ShardloomError(f"{unit.name}: {rows} rows were read, but its outputs account for {accounted}")


def read_row(
    reader: SourceReader, recipe: IngestRecipe, item: Item, watch: RowWatch
) -> ParsedDocument | ParsedCaptionedImage | Rejected:
    """Parses an item with the source's reader, within the CPU limit of a row. Returns a `Rejected`, never raises it."""
    if isinstance(item.content, Rejected):
        return item.content
    try:
        return watch.run_within_limit(lambda: reader.read(item.content, recipe.read))
    except Rejected as fault:
        return fault


def get_images(parsed: ParsedDocument | ParsedCaptionedImage) -> tuple[ParsedImage, ...]:
    """Returns the images of either kind of parsed row."""
    return (parsed.image,) if isinstance(parsed, ParsedCaptionedImage) else parsed.images
