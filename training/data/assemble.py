"""Reads the samples of a pack into one sequence. A bad sample costs only its own positions."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from curation.mixture.reader import Found, Row, ShardFiles, SpoiltSample, record_of
from schemas.records.quarantine import Rejected
from training.batch import IGNORED, PADDING, Batch, SampleName
from training.data.pieces import Piece
from training.data.plan import PackPlan, PackUnit, tiles_of
from training.data.samples import SampleReader
from training.model.anyres import Grid


@dataclass(frozen=True, slots=True)
class Fault:
    """Names a bad sample, which could not be used, and the reason."""

    source: str
    shard: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Made:
    """Holds a sample as it stands in a sequence."""

    name: SampleName
    source: int
    ids: list[int]
    labels: NDArray[np.int64]
    tiles: list[NDArray[np.uint8]]
    valid: list[NDArray[np.bool_]]
    grids: list[Grid]


class Assembler:
    """Reads packs. Each process needs one instance, because it keeps the shards' files open."""

    def __init__(self, plan: PackPlan) -> None:
        self.plan = plan
        self.reader = SampleReader(plan.form.tokenizer, plan.form.markup, plan.plan.mixture.seed)
        self.files = ShardFiles()

    def sequence(self, unit: PackUnit) -> tuple[Batch, list[Fault]]:
        """Reads one sequence: its batch and its bad samples. Raises `ShardloomError` when a shard can't be read."""
        made: list[Made] = []
        faults: list[Fault] = []
        rows = self.plan.rows(unit)
        for place, (row, found) in enumerate(zip(rows, self._read(rows), strict=True)):
            try:
                if found is None:
                    raise _Unfit("it is not what the index says")
                made.append(self._made(found, unit, place))
            except _Unfit as fault:
                faults.append(Fault(self._source(unit, place), row["path"], row["key"], str(fault)))
        return self._batch(made), faults

    def _read(self, rows: list[Row]) -> list[Found | None]:
        """Reads the samples; None for one that does not match its index."""
        try:
            return list(self.files.read(rows))
        except SpoiltSample:
            found: list[Found | None] = []
            for row in rows:
                try:
                    found += self.files.read([row])
                except SpoiltSample:
                    found.append(None)
            return found

    def _made(self, found: Found, unit: PackUnit, place: int) -> Made:
        source, planned = int(unit.sources[place]), tiles_of(self.plan.form.shape, found.row)
        try:
            record = record_of(found.row, found.members, found.row["key"])
        except SpoiltSample:
            raise _Unfit("it is not what the index says") from None
        piece = Piece(*unit.pieces[place].tolist())
        segment = self.reader.segment(record, self.plan.sources.rules[source], piece, planned)
        if segment is None or len(segment.ids) != unit.lengths[place]:
            got = "no text" if segment is None else f"{len(segment.ids)} tokens"
            raise _Unfit(f"it gives {got}, not {unit.lengths[place]} tokens as planned")
        files = [data for ending, data in found.members if ending not in ("json", "txt")]
        cuts = []
        for number in segment.images:
            try:
                cuts.append(self.plan.form.shape.cut(files[number]))
            except Rejected as fault:
                raise _Unfit(f"image {number}: {fault}") from None
            if len(cuts[-1][0]) != planned[number]:
                raise _Unfit(f"image {number}: {len(cuts[-1][0])} tiles, not {planned[number]} as planned")
        name = SampleName(self._source(unit, place), found.row["path"], found.row["key"])
        tiles, valid, grids = ([cut[part] for cut in cuts] for part in range(3))
        return Made(name, source, segment.ids, segment.labels(), tiles, valid, grids)  # type: ignore[arg-type]

    def _source(self, unit: PackUnit, place: int) -> str:
        return self.plan.sources.names[int(unit.sources[place])]

    def _batch(self, made: list[Made]) -> Batch:
        form, length = self.plan.form, self.plan.form.max_tokens
        rows = {name: np.full((1, length), PADDING, np.int64) for name in ("segments", "sources")}
        rows |= {"tokens": np.full((1, length), form.markup.pad, np.int64)}
        rows |= {"labels": np.full((1, length), IGNORED, np.int64), "positions": np.zeros((1, length), np.int64)}
        begin = 0
        for number, sample in enumerate(made):
            end = begin + len(sample.ids)
            rows["tokens"][0, begin:end] = sample.ids
            rows["labels"][0, begin:end] = sample.labels
            rows["positions"][0, begin:end] = np.arange(end - begin)
            rows["segments"][0, begin:end] = number
            rows["sources"][0, begin:end] = sample.source
            begin = end
        tiles = [tile for sample in made for tile in sample.tiles]
        valid = [cells for sample in made for cells in sample.valid]
        grids = [grid for sample in made for grid in sample.grids]
        empty = np.zeros((0, 3, form.shape.tile, form.shape.tile), np.uint8)
        return Batch(
            **{name: torch.from_numpy(array) for name, array in rows.items()},
            tiles=torch.from_numpy(np.concatenate(tiles) if tiles else empty),
            valid=torch.from_numpy(np.concatenate(valid) if valid else np.zeros((0, form.shape.cells), np.bool_)),
            grids=torch.tensor(grids, dtype=torch.int64).reshape(-1, 2),
            samples=(tuple(sample.name for sample in made),),
        )


class _Unfit(Exception):
    """Raised for a bad sample, which can't be used."""
