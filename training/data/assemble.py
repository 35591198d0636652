"""Reads the samples of a pack into one sequence. A bad sample is left out and reported; the others stay."""

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from curation.images.tile_grids import Grid
from curation.mixture.ranges import Watch
from curation.mixture.reader import CorruptSample, IndexRow, ShardFiles, ShardSample, build_record
from schemas.records.quarantine import Rejected
from training.batch import IGNORE_INDEX, PADDING, Batch, SampleName
from training.data.pieces import Piece
from training.data.plan import Pack, PackPlan, count_sample_tiles
from training.data.samples import SampleTokenizer


@dataclass(frozen=True, slots=True)
class BadSample:
    """Names a sample that could not be used, and says why."""

    source: str
    shard: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class AssembledSample:
    """Holds the tokens, labels and image tiles that one sample adds to a sequence."""

    name: SampleName
    source: int
    ids: list[int]
    labels: NDArray[np.int64]
    instructions: list[bool]
    tiles: list[NDArray[np.uint8]]
    valid: list[NDArray[np.bool_]]
    grids: list[Grid]


class Assembler:
    """Reads packs. Each process needs its own instance, because an instance keeps shard files open."""

    def __init__(self, plan: PackPlan, watch: Watch = nullcontext) -> None:
        """Takes the plan, and the `watch` of `ShardFiles`."""
        self.plan = plan
        self.tokenizer = SampleTokenizer(
            plan.sequence_format.tokenizer, plan.sequence_format.markup, plan.mixture_plan.mixture.seed
        )
        self.files = ShardFiles(watch)

    def assemble(self, pack: Pack) -> tuple[Batch, list[BadSample]]:
        """Reads a pack. Returns a batch of its one sequence, and its bad samples.

        Raises `ShardloomError` when a shard can't be read.
        """
        assembled: list[AssembledSample] = []
        bad_samples: list[BadSample] = []
        rows = self.plan.read_rows(pack)
        for place, (row, found) in enumerate(zip(rows, self._read_samples(rows), strict=True)):
            try:
                if isinstance(found, CorruptSample):
                    raise _UnusableSampleError(found.reason)
                assembled.append(self._assemble_sample(found, pack, place))
            except _UnusableSampleError as fault:
                bad_samples.append(BadSample(self._get_source_name(pack, place), row["path"], row["key"], str(fault)))
        return self._build_batch(assembled), bad_samples

    def _read_samples(self, rows: list[IndexRow]) -> list[ShardSample | CorruptSample]:
        """Reads the samples; in place of one that does not match its index row, returns the error."""
        try:
            return list(self.files.read(rows))
        except CorruptSample:
            found: list[ShardSample | CorruptSample] = []
            for row in rows:
                try:
                    found += self.files.read([row])
                except CorruptSample as error:
                    found.append(error)
            return found

    def _assemble_sample(self, found: ShardSample, pack: Pack, place: int) -> AssembledSample:
        source = int(pack.sources[place])
        tiler = self.plan.sources.tilers[source]
        planned = count_sample_tiles(tiler, found.row)
        try:
            record = build_record(found.row, found.members, found.row["key"])
        except CorruptSample as error:
            raise _UnusableSampleError(error.reason) from None
        piece = Piece(*pack.pieces[place].tolist())
        segment = self.tokenizer.tokenize(record, self.plan.sources.rules[source], piece, planned)
        if segment is None or len(segment.ids) != pack.lengths[place]:
            got = "no text" if segment is None else f"{len(segment.ids)} tokens"
            raise _UnusableSampleError(f"it gives {got}, not {pack.lengths[place]} tokens as planned")
        files = [data for ending, data in found.members if ending not in ("json", "txt")]
        decoded = []
        for number in segment.images:
            try:
                decoded.append(tiler.decode_tiles(files[number]))
            except Rejected as fault:
                raise _UnusableSampleError(f"image {number}: {fault}") from None
            if len(decoded[-1][0]) != planned[number]:
                raise _UnusableSampleError(
                    f"image {number}: {len(decoded[-1][0])} tiles, not {planned[number]} as planned"
                )
        name = SampleName(self._get_source_name(pack, place), found.row["path"], found.row["key"])
        tiles, valid, grids = ([image[field] for image in decoded] for field in range(3))
        labels, instructions = segment.build_labels(), segment.instruction_mask
        return AssembledSample(name, source, segment.ids, labels, instructions, tiles, valid, grids)  # type: ignore[arg-type]

    def _get_source_name(self, pack: Pack, place: int) -> str:
        return self.plan.sources.names[int(pack.sources[place])]

    def _build_batch(self, samples: list[AssembledSample]) -> Batch:
        form, length = self.plan.sequence_format, self.plan.sequence_format.max_tokens
        rows = {name: np.full((1, length), PADDING, np.int64) for name in ("segments", "sources")}
        rows |= {"tokens": np.full((1, length), form.markup.pad, np.int64)}
        rows |= {"labels": np.full((1, length), IGNORE_INDEX, np.int64), "positions": np.zeros((1, length), np.int64)}
        instructions = np.zeros((1, length), np.bool_)
        begin = 0
        for number, sample in enumerate(samples):
            end = begin + len(sample.ids)
            rows["tokens"][0, begin:end] = sample.ids
            rows["labels"][0, begin:end] = sample.labels
            rows["positions"][0, begin:end] = np.arange(end - begin)
            rows["segments"][0, begin:end] = number
            rows["sources"][0, begin:end] = sample.source
            instructions[0, begin:end] = sample.instructions
            begin = end
        tiles = [tile for sample in samples for tile in sample.tiles]
        valid = [cells for sample in samples for cells in sample.valid]
        grids = [grid for sample in samples for grid in sample.grids]
        empty = np.zeros((0, 3, form.tiler.tile_size, form.tiler.tile_size), np.uint8)
        return Batch(
            **{name: torch.from_numpy(array) for name, array in rows.items()},
            instructions=torch.from_numpy(instructions),
            tiles=torch.from_numpy(np.concatenate(tiles) if tiles else empty),
            valid=torch.from_numpy(np.concatenate(valid) if valid else np.zeros((0, form.tiler.cells), np.bool_)),
            grids=torch.tensor(grids, dtype=torch.int64).reshape(-1, 2),
            samples=(tuple(sample.name for sample in samples),),
        )


class _UnusableSampleError(Exception):
    """Says why a sample can't be used."""
