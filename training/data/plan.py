"""The one global sequence of packs, and how any place in it is found without walking there.

A window is a run of the mixture's positions that is packed by itself, so a place is (window, pack in it), and going on
from there costs the packing of one window, whether it is the first or the millionth. Every rank plans all windows
(from two numbers a sample) and reads its own packs alone; so the sequence hangs on no number of ranks or workers.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curation.mixture.plan import Plan
from curation.mixture.reader import Row
from curation.mixture.shuffle import Shuffle
from schemas.errors import UsageError
from training.data.counting import NO_CAPTION, NO_TEXT, UNREADABLE
from training.data.images import ImageShape
from training.data.options import SourceText
from training.data.packing import pack
from training.data.pieces import PartSize, Piece, Sized, cut
from training.data.sequence import SequenceFormat
from training.data.tables import Table

_REASONS = {NO_CAPTION: "no_caption", UNREADABLE: "unreadable", NO_TEXT: "no_text"}


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the sequence of packs: the next one is `pack` of `window`. JSON-able."""

    window: int = 0
    pack: int = 0


@dataclass(frozen=True, slots=True)
class PackUnit:
    """What one sequence is made of; small, so that it can be sent to a worker."""

    cursor: Cursor  # behind it
    sources: NDArray[np.int64]  # of each sample, as `PackPlan.names` has them
    samples: NDArray[np.int64]  # their numbers in their sources
    pieces: NDArray[np.int64]  # of each its `Piece`
    lengths: NDArray[np.int64]
    tiles: NDArray[np.int64]
    left_out: dict[str, int] = field(default_factory=dict)
    """`source.reason`: samples of the window that are in no pack; told by its first pack."""
    split: dict[str, int] = field(default_factory=dict)
    """Source: pieces of samples that were cut; told likewise."""


@dataclass(frozen=True, slots=True)
class Sources:
    """All sources, in the order of their names, by which batches number them."""

    names: list[str]
    tables: list[Table]
    rules: list[SourceText]
    numbers: NDArray[np.int64]  # of the mixture's sources, among these


class PackPlan:
    """Which samples make up which sequence."""

    def __init__(self, plan: Plan, sources: Sources, form: SequenceFormat, fingerprint: Mapping[str, str]) -> None:
        """`plan` orders the samples of the `sources`, and `form` is what their sequences are like."""
        self.plan, self.sources, self.form = plan, sources, form
        self.fingerprint = dict(fingerprint)
        """Of all that the sequence depends on, by what it is; see `check_unchanged`."""
        self.windows = -(-plan.length // form.window)

    def packs(self, cursor: Cursor = Cursor()) -> Iterator[PackUnit]:
        """The packs from there on, to the end of the mixture."""
        for window in range(cursor.window, self.windows):
            yield from self.window(window)[cursor.pack if window == cursor.window else 0 :]

    def window(self, number: int) -> list[PackUnit]:
        """The packs of a window, in their order; one of nothing where no sample of it can be learnt from."""
        form = self.form
        start = number * form.window
        drawn = self.plan.take(start, min(start + form.window, self.plan.length))
        items = _Items(self.sources.numbers[drawn.sources], drawn.samples)
        left_out, split = self._fill(items)
        lengths, tiles = np.asarray(items.lengths, np.int64), np.asarray(items.tiles, np.int64)
        packs: list[list[int]] = pack(lengths, tiles, form.max_tokens, form.max_tiles) or [[]]
        order = Shuffle.of(len(packs), self.plan.mixture.seed, f"packs of window {number}").samples(
            np.arange(len(packs))
        )
        at, pieces = np.asarray(items.at, np.int64), np.asarray(items.pieces, np.int64).reshape(-1, 4)
        units = []
        for place, chosen in enumerate(order.tolist()):
            held = np.asarray(packs[chosen], np.int64)
            behind = Cursor(number, place + 1) if place + 1 < len(packs) else Cursor(number + 1, 0)
            of, sample = items.sources[at[held]], items.samples[at[held]]
            told = (dict(left_out), dict(split)) if place == 0 else ({}, {})
            units.append(PackUnit(behind, of, sample, pieces[held], lengths[held], tiles[held], *told))
        return units

    def rows(self, unit: PackUnit) -> list[Row]:
        """The index rows of a pack's samples, in order."""
        rows: list[Row | None] = [None] * len(unit.samples)
        for source in np.unique(unit.sources).tolist():
            places = np.flatnonzero(unit.sources == source)
            found = self.sources.tables[source].rows.take(unit.samples[places])
            for place, row in zip(places.tolist(), found, strict=True):
                rows[place] = row
        return [row for row in rows if row is not None]

    def _fill(self, items: "_Items") -> tuple[Counter[str], Counter[str]]:
        """Puts what is to be packed into `items`; returns what is left out, and what was cut."""
        form, count = self.form, len(items.samples)
        words, tiles = np.empty(count, np.int64), np.empty(count, np.int64)
        for source in np.flatnonzero(np.bincount(items.sources)).tolist():
            places = np.flatnonzero(items.sources == source)
            numbers, samples = self.sources.tables[source].numbers, items.samples[places]
            words[places], tiles[places] = numbers["words"][samples], numbers["tiles"][samples]
        lengths = words + tiles * form.markup.tokens_per_tile
        fits = (words > 0) & (lengths <= form.max_tokens) & (tiles <= form.max_tiles)
        left_out: Counter[str] = Counter()
        split: Counter[str] = Counter()
        large = {}
        for place in np.flatnonzero(~fits).tolist():
            source = int(items.sources[place])
            name = self.sources.names[source]
            if words[place] < 0:
                left_out[f"{name}.{_REASONS[int(words[place])]}"] += 1
                continue
            row = self.sources.tables[source].rows.take(items.samples[place : place + 1])[0]
            found = self._cut(row)
            if isinstance(found, str):
                left_out[f"{name}.{found}"] += 1
            else:
                large[place] = found
                split[name] += len(found)
        items.add(fits, lengths, tiles, large)
        return left_out, split

    def _cut(self, row: Row) -> list[Sized] | str:
        """The pieces of a sample that is too large, or why there are none."""
        form, counts = self.form, tiles_of(self.form.shape, row)
        if any(count > form.max_tiles or count * form.markup.tokens_per_tile >= form.max_tokens for count in counts):
            return "image_too_large"
        if row["kind"] == "conversation":
            return "too_many_images" if sum(counts) > form.max_tiles else "too_long"
        left = iter(counts)
        parts = [PartSize(0, next(left)) if tokens is None else PartSize(tokens, 0) for tokens in row["part_tokens"]]
        return cut(parts, form.markup, form.max_tokens, form.max_tiles) or "image_too_large"


class _Items:
    """What is packed of a window: samples, and pieces of those that were cut, in the mixture's order."""

    def __init__(self, sources: NDArray[np.int64], samples: NDArray[np.int64]) -> None:
        self.sources, self.samples = sources, samples
        self.at: list[int] = []  # place of each in the window
        self.lengths: list[int] = []
        self.tiles: list[int] = []
        self.pieces: list[Piece] = []

    def add(
        self,
        fits: NDArray[np.bool_],
        lengths: NDArray[np.int64],
        tiles: NDArray[np.int64],
        large: Mapping[int, Sequence[Sized]],
    ) -> None:
        """Those that fit, and the pieces of those that are too large."""
        whole = Piece()
        for place in sorted([*np.flatnonzero(fits).tolist(), *large]):
            sized = large.get(place) or [Sized(whole, int(lengths[place]), int(tiles[place]))]
            for one in sized:
                self.at.append(place)
                self.lengths.append(one.length)
                self.tiles.append(one.tiles)
                self.pieces.append(one.piece)


def tiles_of(shape: ImageShape, row: Row) -> list[int]:
    """The tiles of each of a sample's images."""
    sizes = [(image["width"], image["height"]) for image in row["image_details"]]
    widths, heights = (np.asarray(sides, np.int64) for sides in (zip(*sizes, strict=True) if sizes else ((), ())))
    counts: list[int] = shape.tiles(widths, heights).tolist()
    return counts


def check_unchanged(stored: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raises `UsageError`, naming what has changed, where a sequence of packs is not the one that was begun."""
    for name in sorted({*stored, *now}):
        if stored.get(name) != now.get(name):
            raise UsageError(
                f"data: {name} is not what this run began with, so its order can't go on: take it back, or start anew"
            )
