"""Plans the one global sequence of packs, and finds any place in it without replay.

A window is a range of consecutive samples of the mixture that is packed by itself. A place is (window, pack in it), and
resuming there costs the packing of one window, whether it is the first or the millionth. Every rank plans all windows
(from two numbers per sample) and reads only its own packs, so the sequence does not depend on the number of ranks or
workers.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curation.mixture.held_out import HeldOut
from curation.mixture.plan import Plan
from curation.mixture.reader import IndexRow
from curation.mixture.shuffle import Shuffle
from schemas.errors import UsageError
from training.data.counting import NO_CAPTION, NO_TEXT, UNREADABLE
from training.data.images import ImageTiler
from training.data.options import SourceTextOptions
from training.data.packing import pack
from training.data.pieces import PartSize, Piece, SizedPiece, split_into_pieces
from training.data.sequence import SequenceFormat
from training.data.tables import SampleTable
from training.data.turns import cut_conversation

CUT_TURNS = "cut_turns"
"""Counts the turns of conversations that are in no piece, although others of the same conversation are."""

_CLEARER_NAMES = {"the image size": "the image tiling", "the text": "the text options or markup"}
"""What messages call the hashes whose names, which checkpoints store, say less than they cover."""

_HELD_OUT = -4  # in place of a sample's words
_REASONS = {NO_CAPTION: "no_caption", UNREADABLE: "unreadable", NO_TEXT: "no_text", _HELD_OUT: "held_out"}


@dataclass(frozen=True, slots=True)
class Cursor:
    """Marks a place in the sequence of packs: the next pack is number `pack` of window `window`. JSON-serialisable."""

    window: int = 0
    pack: int = 0


@dataclass(frozen=True, slots=True)
class Pack:
    """Lists the samples of one sequence; it is small enough to be sent to a worker."""

    cursor: Cursor  # the place after this pack
    sources: NDArray[np.int64]  # each sample's source, a number in `Sources.names`
    samples: NDArray[np.int64]  # each sample's number in its source
    pieces: NDArray[np.int64]  # [samples, 4]: each sample's `Piece`
    lengths: NDArray[np.int64]
    tiles: NDArray[np.int64]
    left_out: dict[str, int] = field(default_factory=dict)
    """Number of the window's samples that are in no pack, by `source.reason`, and of turns of cut conversations, as
    `source.cut_turns`; only its first pack reports it."""
    split: dict[str, int] = field(default_factory=dict)
    """Number of pieces of cut samples, by source; only the window's first pack reports it."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Holds all sources in the order of their names, which is also how batches number them."""

    names: list[str]
    tables: list[SampleTable]
    rules: list[SourceTextOptions]
    tilers: list[ImageTiler]
    mixture_indices: NDArray[np.int64]  # for each of the mixture's sources, its number among these


class PackPlan:
    """Decides which samples make up which sequence."""

    def __init__(
        self,
        mixture_plan: Plan,
        sources: Sources,
        sequence_format: SequenceFormat,
        fingerprint: Mapping[str, str],
        held_out: HeldOut | None = None,
        held_out_sets: "PackPlan | None" = None,
    ) -> None:
        """Takes the `mixture_plan` that orders the samples of the `sources`, and the `sequence_format` of their
        sequences. Samples that are `held_out` are in no pack; `held_out_sets` is the plan of sets of their own.
        """
        self.held_out, self.held_out_sets = held_out, held_out_sets
        self.mixture_plan, self.sources, self.sequence_format = mixture_plan, sources, sequence_format
        self.fingerprint = dict(fingerprint)
        """Hashes of everything that the sequence depends on, by a name for messages; see `check_unchanged`."""
        self.window_count = -(-mixture_plan.length // sequence_format.window)

    def iterate_packs(self, cursor: Cursor = Cursor()) -> Iterator[Pack]:
        """Yields the packs from the cursor to the end of the mixture."""
        for window in range(cursor.window, self.window_count):
            yield from self.pack_window(window)[cursor.pack if window == cursor.window else 0 :]

    def pack_window(self, number: int) -> list[Pack]:
        """Returns the packs of a window in order; a window without usable samples has one empty pack."""
        start = number * self.sequence_format.window
        drawn = self.mixture_plan.take(start, min(start + self.sequence_format.window, self.mixture_plan.length))
        return self._pack_samples(self.sources.mixture_indices[drawn.sources], drawn.samples, number)

    def pack_held_out(self, most: int) -> list[Pack]:
        """Returns packs of the first `most` held-out samples of each source; those that can't be packed are left out.

        Nothing else is in them, and none of their samples is in any other pack. Raises `UsageError` if there are none.
        """
        if self.held_out is None:
            return []
        chosen = [
            self.held_out.find_first(name, len(table.numbers["words"]), most)
            for name, table in zip(self.sources.names, self.sources.tables, strict=True)
        ]
        packs = self._pack_chosen(chosen)
        if not any(len(one.samples) for one in packs):
            raise UsageError("data.held_out: it holds out no sample that can be used; raise held_out.share")
        return packs

    def pack_random(self, most: int) -> list[Pack]:
        """Returns packs of `most` samples of each source at random, the same ones whatever the seed of the mixture is.

        Raises `UsageError` if none can be used.
        """
        chosen = []
        for name, table in zip(self.sources.names, self.sources.tables, strict=True):
            length = len(table.numbers["words"])
            order = Shuffle.for_source(length, 0, name)
            chosen.append(np.sort(order.permute(np.arange(min(most, length)))))
        packs = self._pack_chosen(chosen)
        if not any(len(one.samples) for one in packs):
            raise UsageError("data.held_out.sets: they have no sample that can be used")
        return packs

    def _pack_chosen(self, chosen: Sequence[NDArray[np.int64]]) -> list[Pack]:
        """Packs the chosen samples of each source, apart from all windows."""
        numbers = np.repeat(np.arange(len(chosen)), [len(samples) for samples in chosen])
        return self._pack_samples(numbers, np.concatenate(chosen), self.window_count, of_held_out=True)

    def _pack_samples(
        self, sources: NDArray[np.int64], samples: NDArray[np.int64], number: int, of_held_out: bool = False
    ) -> list[Pack]:
        """Packs samples, given by source and number, as window `number`."""
        form, items = self.sequence_format, _WindowItems(sources, samples)
        left_out, split = self._collect_items(items, of_held_out)
        lengths, tiles = np.asarray(items.lengths, np.int64), np.asarray(items.tiles, np.int64)
        packs: list[list[int]] = pack(lengths, tiles, form.max_tokens, form.max_tiles) or [[]]
        order = Shuffle.for_source(len(packs), self.mixture_plan.mixture.seed, f"packs of window {number}").permute(
            np.arange(len(packs))
        )
        at, pieces = np.asarray(items.places, np.int64), np.asarray(items.pieces, np.int64).reshape(-1, 4)
        ordered = []
        for place, chosen in enumerate(order.tolist()):
            held = np.asarray(packs[chosen], np.int64)
            next_cursor = Cursor(number, place + 1) if place + 1 < len(packs) else Cursor(number + 1, 0)
            of, sample = items.sources[at[held]], items.samples[at[held]]
            window_counts = (dict(left_out), dict(split)) if place == 0 else ({}, {})
            ordered.append(Pack(next_cursor, of, sample, pieces[held], lengths[held], tiles[held], *window_counts))
        return ordered

    def read_rows(self, pack: Pack) -> list[IndexRow]:
        """Returns the index rows of a pack's samples, in order."""
        rows: list[IndexRow | None] = [None] * len(pack.samples)
        for source in np.unique(pack.sources).tolist():
            places = np.flatnonzero(pack.sources == source)
            found = self.sources.tables[source].rows.take(pack.samples[places])
            for place, row in zip(places.tolist(), found, strict=True):
                rows[place] = row
        return [row for row in rows if row is not None]

    def find_first_shard(self, units: Sequence[Pack]) -> str:
        """Returns the path of the shard of the first sample in these packs, empty if they have none; reads nothing."""
        for unit in (unit for unit in units if len(unit.samples)):
            return self.sources.tables[int(unit.sources[0])].rows.find_shard(int(unit.samples[0]))
        return ""

    def _collect_items(self, items: "_WindowItems", of_held_out: bool) -> tuple[Counter[str], Counter[str]]:
        """Fills `items` with what is to be packed: the samples that are held out, or the others.

        Returns the counts of left-out samples and of pieces.
        """
        form, count = self.sequence_format, len(items.samples)
        words, tiles, groups = (np.empty(count, np.int64) for _ in range(3))
        for source in np.flatnonzero(np.bincount(items.sources)).tolist():
            places = np.flatnonzero(items.sources == source)
            numbers, samples = self.sources.tables[source].numbers, items.samples[places]
            words[places], tiles[places] = numbers["words"][samples], numbers["tiles"][samples]
            groups[places] = numbers["images"][samples] if form.markup.fixed_sampling else tiles[places]
            if self.held_out is not None and not of_held_out:
                words[places[self.held_out.select(self.sources.names[source], samples)]] = _HELD_OUT
        lengths = words + groups * form.markup.tokens_per_tile
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
            found, dropped_turns = self._split_sample(row, self.sources.tilers[source])
            if isinstance(found, str):
                left_out[f"{name}.{found}"] += 1
            else:
                large[place] = found
                split[name] += len(found)
                left_out[f"{name}.{CUT_TURNS}"] += dropped_turns
        items.add(fits, lengths, tiles, large)
        return +left_out, split  # without zeros

    def _split_sample(self, row: IndexRow, tiler: ImageTiler) -> tuple[list[SizedPiece] | str, int]:
        """Cuts a sample that is too large for a sequence into pieces, or returns the reason why it can't.

        Returns also the number of turns of a conversation that are in no piece.
        """
        form, counts = self.sequence_format, count_sample_tiles(tiler, row)
        limits = (form.max_tokens, form.max_tiles)
        is_image_too_large = any(
            count > form.max_tiles or form.markup.count_image_tokens(count) >= form.max_tokens for count in counts
        )
        left = iter(counts)
        parts = [PartSize(0, next(left)) if tokens is None else PartSize(tokens, 0) for tokens in row["part_tokens"]]
        if row["kind"] == "conversation":
            cut = cut_conversation(parts, row["roles"], form.markup, *limits)
            is_over = sum(counts) > form.max_tiles
            reason = "image_too_large" if is_image_too_large else "too_many_images" if is_over else "too_long"
            return cut.pieces or reason, cut.dropped_turns
        pieces = [] if is_image_too_large else split_into_pieces(parts, form.markup, *limits)
        return pieces or "image_too_large", 0


class _WindowItems:
    """Holds what a window packs, in the mixture's order: whole samples, and pieces of those that were cut."""

    def __init__(self, sources: NDArray[np.int64], samples: NDArray[np.int64]) -> None:
        self.sources, self.samples = sources, samples
        self.places: list[int] = []  # place of each in the window
        self.lengths: list[int] = []
        self.tiles: list[int] = []
        self.pieces: list[Piece] = []

    def add(
        self,
        fits: NDArray[np.bool_],
        lengths: NDArray[np.int64],
        tiles: NDArray[np.int64],
        large: Mapping[int, Sequence[SizedPiece]],
    ) -> None:
        """Adds the samples that fit, and the pieces of those that are too large."""
        whole = Piece()
        for place in sorted([*np.flatnonzero(fits).tolist(), *large]):
            sized = large.get(place) or [SizedPiece(whole, int(lengths[place]), int(tiles[place]))]
            for one in sized:
                self.places.append(place)
                self.lengths.append(one.length)
                self.tiles.append(one.tiles)
                self.pieces.append(one.piece)


def make_empty_pack(cursor: Cursor) -> Pack:
    """Returns a pack of no sample, for a rank that has none where others have one."""
    none = np.zeros(0, np.int64)
    return Pack(cursor, none, none, none.reshape(0, 4), none, none)


def count_sample_tiles(shape: ImageTiler, row: IndexRow) -> list[int]:
    """Counts the tiles of each of a sample's images."""
    sizes = [(image["width"], image["height"]) for image in row["image_details"]]
    widths, heights = (np.asarray(sides, np.int64) for sides in (zip(*sizes, strict=True) if sizes else ((), ())))
    counts: list[int] = shape.count_tiles(widths, heights).tolist()
    return counts


def check_unchanged(stored: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raises `UsageError` that names what has changed when the sequence of packs is not the one stored."""
    for name in sorted({*stored, *now}):
        if stored.get(name) != now.get(name):
            what = _CLEARER_NAMES.get(name, name)
            raise UsageError(
                f"data: {what} has changed since this run started, so its order can't continue: restore it, or start"
                " again with another --output"
            )
