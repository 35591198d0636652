"""Processes one unit of an ingest: each row becomes a sample or a quarantined row, and samples are cut into shards.

The outputs of unit 7 are `00000007`, then `00000007_001` and so on where the samples do not fit into one shard.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from curation.documents.filters import captioned, filtered
from curation.sources import SOURCES, SourceReader
from curation.tokens import TokenCounter
from pipelines.ingest.repeats import Repeats
from pipelines.ingest.row_watch import RowWatch
from pipelines.ingest.stores.store import ImageStore, find
from pipelines.inputs.source_files import Item, Stretch, read_stretch, stretch_items
from pipelines.inputs.summarised import Summarised
from pipelines.output.output_set import put_quarantine
from pipelines.output.training_shards import Record, Sample, ShardWriter, counts_of, parts_of, sample_of
from pipelines.recipes.ingest import IngestRecipe
from schemas.layouts.datacomp import uid_of
from schemas.output_set.manifest import HIDDEN_FILES, Manifest
from schemas.output_set.unit_outputs import nth_output
from schemas.records.document import CaptionDraft, Draft, DraftImage
from schemas.records.quarantine import QuarantinedRow, Reason, Rejected
from schemas.storage.folder import Folder
from schemas.tar.reader import TarSample

STAGE = "ingest"

_FILTERED = {Reason.TOO_SMALL, Reason.EXTREME_ASPECT, Reason.REPEATED_IMAGE, Reason.REPEATED_IMAGE_IN_DOCUMENT}


@dataclass(frozen=True, slots=True)
class Unit:
    """Represents one row range of the input, and which of its images repeat earlier ones."""

    number: int
    stretch: Stretch
    repeats: Repeats = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Returns the name of its first output, with which the keys of its samples begin."""
        return f"{self.number:08d}"


@dataclass(frozen=True, slots=True)
class Made:
    """Holds a sample with the number of its texts, and of its images that were left out, by reason."""

    sample: Sample
    texts: int
    dropped: Counter[Reason]


class UnitWork:
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
        self.recipe_sha256 = recipe.sha256()

    def __call__(self, unit: Unit) -> list[Manifest]:
        """Writes the unit's outputs and returns their manifests; the outputs count once the caller writes these."""
        rows = Summarised(read_stretch(self.reader, unit.stretch))
        shards = Shards(self.outcomes(unit, rows), self.recipe.samples_per_shard, self.recipe.bytes_per_shard)
        manifests: list[Manifest] = []
        while not shards.are_done:
            name = nth_output(unit.name, len(manifests))
            written = self.writer.write(name, shards.next())
            account = shards.account()
            counts = counts_of(written.rows, with_tokens=self.counter is not None)
            manifests.append(
                Manifest.build(
                    name,
                    self.recipe_sha256,
                    inputs=[],
                    rows_in=account.rows,
                    data=written.data,
                    others=[written.index, put_quarantine(self.output, name, account.left_out)],
                    reasons=[row.reason for row in account.left_out],
                    counts=dict(sorted((counts | account.counts).items())),
                    fingerprints=self.fingerprints,
                )
            )
        inputs = [rows.summary.input, *(store.revision for store in self.stores)]  # known only after all rows are read
        first, *others = (manifest.model_copy(update={"inputs": inputs}) for manifest in manifests)
        hidden = {HIDDEN_FILES: rows.summary.hidden} if rows.summary.hidden else {}
        told = {
            "damage": rows.summary.damage,
            "counts": dict(sorted((first.counts | hidden).items())),
            "unit_outputs": len(manifests),
        }
        return [first.model_copy(update=told), *others]

    def outcomes(self, unit: Unit, rows: Iterable[Item]) -> Iterator[Made | QuarantinedRow]:
        """Yields the sample or quarantined row that each row becomes, in order."""
        shard = unit.stretch.path.rpartition("/")[2].rpartition(".")[0]
        for row, item in enumerate(self.watch.rows("ingest", unit.name, unit.stretch, rows)):
            draft = read_draft(self.reader, self.recipe, item, self.watch)
            if isinstance(draft, Rejected):
                uid = uid_of(item.content) if isinstance(item.content, TarSample) else None
                yield QuarantinedRow.of(item.key, uid, STAGE, draft)
                continue
            repeats, key = unit.repeats.get(row, frozenset()), f"{unit.name}{row:06d}"
            work = functools.partial(self._sample, draft, repeats, key, shard, item.key)
            try:
                made = self.watch.within(work)
            except Rejected as fault:
                yield QuarantinedRow.of(item.key, draft.uid, STAGE, fault)
            else:
                yield made

    def _sample(
        self, draft: Draft | CaptionDraft, repeats: frozenset[int], key: str, shard: str, source_key: str
    ) -> Made:
        return self.made(self.without_repeats(self.looked_up(draft), repeats), key, shard, source_key)

    def made(self, draft: Draft | CaptionDraft, key: str, shard: str, source_key: str) -> Made:
        """Makes a sample from a parsed row. Raises `Rejected` if a filter or the layout refuses it."""
        filters, limits = self.recipe.filters, self.recipe.read.limits
        try:
            if isinstance(draft, CaptionDraft):
                return self._made(captioned(draft, key, shard, source_key, filters, limits), Counter())
            found = filtered(draft, key, self.name, filters, limits)
            return self._made(found.document, found.dropped)
        except ValueError as error:  # a reader should have refused it
            raise Rejected(Reason.MALFORMED_ROW, str(error)) from None

    def _made(self, record: Record, dropped: Counter[Reason]) -> Made:
        texts = sum(isinstance(part, str) for part in parts_of(record))
        return Made(sample_of(record, self.name, self.counter), texts, dropped)

    def looked_up(self, draft: Draft | CaptionDraft) -> Draft | CaptionDraft:
        """Returns the parsed row with each URL or file name replaced by its file, or by `Rejected` if there is none."""
        if isinstance(draft, CaptionDraft):
            return replace(draft, image=self._found(draft.image))
        return replace(draft, images=tuple(map(self._found, draft.images)))

    def without_repeats(self, draft: Draft | CaptionDraft, repeats: frozenset[int]) -> Draft | CaptionDraft:
        """Returns the parsed row without its repeated images. Raises `Rejected` where they rule out the whole row."""
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
        """Yields row in the unit, number in the row and file of each image that is available."""
        rows = stretch_items(self.reader, unit.stretch)
        for row, item in enumerate(self.watch.rows("repeats", unit.name, unit.stretch, rows)):
            draft = read_draft(self.reader, self.recipe, item, self.watch)
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
    """Holds the row count, quarantined rows and image counts of one output."""

    rows: int  # samples and quarantined rows
    left_out: list[QuarantinedRow]
    counts: dict[str, int]


class Shards:
    """Splits a stream of outcomes into shards of at most `samples` samples and `size` bytes, but at least one sample.

    A sample that does not fit starts the next shard.
    """

    def __init__(self, outcomes: Iterator[Made | QuarantinedRow], samples: int, size: int) -> None:
        self._outcomes, self._samples, self._size = outcomes, samples, size
        self._made: list[tuple[Counter[Reason], int]] = []
        self._left_out: list[QuarantinedRow] = []
        self._held: Made | None = None  # the sample that starts the next shard
        self.are_done = False

    def next(self) -> Iterator[Sample]:
        """Yields the samples of the next shard; `account` describes it until `next` is called again."""
        self._made, self._left_out = [], []
        size = 0
        while (outcome := self._held or next(self._outcomes, None)) is not None:
            self._held = None
            if isinstance(outcome, QuarantinedRow):
                self._left_out.append(outcome)
                continue
            size += outcome.sample.size
            if self._made and (len(self._made) == self._samples or size > self._size):
                self._held = outcome
                return
            self._made.append((outcome.dropped, outcome.texts))
            yield outcome.sample
        self.are_done = True

    def account(self) -> Account:
        """Returns the summary of the shard that `next` yielded last."""
        dropped: Counter[Reason] = sum((dropped for dropped, _ in self._made), Counter())
        counts = {f"dropped_{reason.value}": count for reason, count in dropped.items()}
        counts["lost_images"] = sum(count for reason, count in dropped.items() if reason not in _FILTERED)
        counts["texts"] = sum(texts for _, texts in self._made)
        counts["documents"] = len(self._made)
        return Account(len(self._made) + len(self._left_out), self._left_out, counts)


def read_draft(
    reader: SourceReader, recipe: IngestRecipe, item: Item, watch: RowWatch
) -> Draft | CaptionDraft | Rejected:
    """Parses an item with the source's reader, within the CPU limit of a row. Returns a `Rejected`, never raises it."""
    if isinstance(item.content, Rejected):
        return item.content
    try:
        return watch.within(lambda: reader.read(item.content, recipe.read))
    except Rejected as fault:
        return fault


def images_of(draft: Draft | CaptionDraft) -> tuple[DraftImage, ...]:
    """Returns the images of either kind of parsed row."""
    return (draft.image,) if isinstance(draft, CaptionDraft) else draft.images
