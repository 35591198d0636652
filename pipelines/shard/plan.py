"""Which samples of which input shards each training shard is made from.

The samples of all input shards, in order, are one sequence; output k is the stretch of it that holds samples k·N to
(k+1)·N of those that have captions, with the ones left out among them in its quarantine. So every row is accounted for
in exactly one output, whatever the lengths of the inputs.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.inputs.shards import InputShard
from pipelines.shard.caption_set import CaptionSet
from pipelines.shard.census import Census
from schemas.output_set.manifest import InputFile, Manifest


@dataclass(frozen=True, slots=True)
class Stretch:
    """Samples `start` to `stop` of one input."""

    census: Census
    start: int
    stop: int

    @property
    def shard(self) -> InputShard:
        """The input."""
        return self.census.shard


@dataclass(frozen=True, slots=True)
class Unit:
    """One output shard."""

    name: str
    stretches: list[Stretch]

    @property
    def rows(self) -> int:
        """Samples in it, good or not."""
        return sum(stretch.stop - stretch.start for stretch in self.stretches)

    @property
    def inputs(self) -> list[InputFile]:
        """The image shards, as the census has read them."""
        return [
            InputFile(path=stretch.shard.path, size=stretch.census.size, sha256=stretch.census.sha256)
            for stretch in self.stretches
        ]

    @property
    def damage(self) -> list[str]:
        """What could not be read of them."""
        return [f"{stretch.shard.source}: {each}" for stretch in self.stretches for each in stretch.census.damage]

    @property
    def hidden(self) -> int:
        """Files of other programs in the inputs that begin in it."""
        return sum(stretch.census.hidden for stretch in self.stretches if stretch.start == 0)


def changed(unit: Unit | None, manifest: Manifest, captions: CaptionSet) -> bool:
    """Whether a committed output was made of other images or captions: it would overlap with what is to come."""
    if unit is None:
        return True
    expected = [(stretch.shard.label, stretch.shard.size()) for stretch in unit.stretches]
    read = [(file.path, file.size) for file in manifest.inputs if file != captions.revision]
    return captions.revision not in manifest.inputs or expected != read or unit.rows != manifest.rows_in


def cut_units(censuses: list[Census], samples: int) -> list[Unit]:
    """The outputs: each ends with its `samples`-th good sample, the last one with the last sample of all."""
    units: list[Unit] = []
    stretches: list[Stretch] = []
    held = 0
    for census in censuses:
        start = 0
        ends = np.flatnonzero(census.good) + 1  # a cut may be made behind each good sample
        while held + len(ends) > samples:  # more to come than fits: this output ends inside this shard
            stop = int(ends[samples - held - 1]) if held < samples else start
            if stop > start:
                stretches.append(Stretch(census, start, stop))
            units.append(Unit(f"{len(units):08d}", stretches))
            ends, start, stretches, held = ends[samples - held :], stop, [], 0
        stretches.append(Stretch(census, start, len(census.good)))
        held += len(ends)
    if stretches:
        units.append(Unit(f"{len(units):08d}", stretches))
    return units
