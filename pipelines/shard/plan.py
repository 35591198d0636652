"""Plans which samples of which input shards go into each training shard.

The samples of all input shards, in order, form one sequence. Output k is the range of it that contains the samples k·N
to (k+1)·N among those with captions; the samples left out between them go to its quarantine. So every row is in exactly
one output, whatever the lengths of the inputs.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.inputs.shards import InputShard
from pipelines.shard.caption_set import CaptionSet
from pipelines.shard.census import Census
from schemas.output_set.manifest import InputFile, Manifest


@dataclass(frozen=True, slots=True)
class Stretch:
    """Describes a row range: samples `start` to `stop` - 1 of one input."""

    census: Census
    start: int
    stop: int

    @property
    def shard(self) -> InputShard:
        """The input shard."""
        return self.census.shard


@dataclass(frozen=True, slots=True)
class Unit:
    """Describes one output shard."""

    name: str
    stretches: list[Stretch]

    @property
    def rows(self) -> int:
        """The number of samples in it, with and without captions."""
        return sum(stretch.stop - stretch.start for stretch in self.stretches)

    @property
    def inputs(self) -> list[InputFile]:
        """The image shards, as they were in the census."""
        return [
            InputFile(path=stretch.shard.path, size=stretch.census.size, sha256=stretch.census.sha256)
            for stretch in self.stretches
        ]

    @property
    def damage(self) -> list[str]:
        """What could not be read of the inputs."""
        return [f"{stretch.shard.source}: {each}" for stretch in self.stretches for each in stretch.census.damage]

    @property
    def hidden(self) -> int:
        """The number of hidden files in those inputs whose first sample is in it."""
        return sum(stretch.census.hidden for stretch in self.stretches if stretch.start == 0)


def changed(unit: Unit | None, manifest: Manifest, captions: CaptionSet) -> bool:
    """Returns whether a committed output was made from other inputs: it would overlap with the outputs to come."""
    if unit is None:
        return True
    expected = [(stretch.shard.label, stretch.shard.size()) for stretch in unit.stretches]
    read = [(file.path, file.size) for file in manifest.inputs if file != captions.revision]
    return captions.revision not in manifest.inputs or expected != read or unit.rows != manifest.rows_in


def cut_units(censuses: list[Census], samples: int) -> list[Unit]:
    """Splits the inputs into outputs: each ends with its `samples`-th good sample, the last with the last sample."""
    units: list[Unit] = []
    stretches: list[Stretch] = []
    held = 0
    for census in censuses:
        start = 0
        ends = np.flatnonzero(census.good) + 1  # an output may end after each good sample
        while held + len(ends) > samples:  # the shard has more than fits: this output ends inside it
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
