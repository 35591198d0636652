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
class SampleRange:
    """Describes a row range: samples `start` to `stop` - 1 of one input."""

    census: Census
    start: int
    stop: int

    @property
    def shard(self) -> InputShard:
        """The input shard."""
        return self.census.shard


@dataclass(frozen=True, slots=True)
class ShardUnit:
    """Describes one output shard."""

    name: str
    sample_ranges: list[SampleRange]

    @property
    def rows(self) -> int:
        """The number of samples in it, with and without captions."""
        return sum(sample_range.stop - sample_range.start for sample_range in self.sample_ranges)

    @property
    def left_out(self) -> int:
        """The number of samples in it that the recipe does not choose."""
        return sum(
            int(sample_range.census.left_out[sample_range.start : sample_range.stop].sum())
            for sample_range in self.sample_ranges
        )

    @property
    def inputs(self) -> list[InputFile]:
        """The image shards, as they were in the census."""
        return [
            InputFile(path=sample_range.shard.path, size=sample_range.census.size, sha256=sample_range.census.sha256)
            for sample_range in self.sample_ranges
        ]

    @property
    def damage(self) -> list[str]:
        """What could not be read of the inputs."""
        return [
            f"{sample_range.shard.source}: {each}"
            for sample_range in self.sample_ranges
            for each in sample_range.census.damage
        ]

    @property
    def hidden_files(self) -> int:
        """The number of hidden files in those inputs whose first sample is in it."""
        return sum(sample_range.census.hidden for sample_range in self.sample_ranges if sample_range.start == 0)


def has_changed(unit: ShardUnit | None, manifest: Manifest, captions: CaptionSet) -> bool:
    """Returns whether a committed output was made from other inputs: it would overlap with the outputs to come."""
    if unit is None:
        return True
    expected = [(sample_range.shard.label, sample_range.shard.get_size()) for sample_range in unit.sample_ranges]
    read = [(file.path, file.size) for file in manifest.inputs if file != captions.revision]
    if captions.revision not in manifest.inputs or expected != read:
        return True
    return (unit.rows, unit.rows - unit.left_out) != (manifest.rows_in, manifest.rows_chosen)


def cut_units(censuses: list[Census], samples: int) -> list[ShardUnit]:
    """Splits the inputs into outputs: each ends with its `samples`-th good sample, the last with the last sample."""
    units: list[ShardUnit] = []
    sample_ranges: list[SampleRange] = []
    held = 0
    for census in censuses:
        start = 0
        ends = np.flatnonzero(census.good) + 1  # an output may end after each good sample
        while held + len(ends) > samples:  # the shard has more than fits: this output ends inside it
            stop = int(ends[samples - held - 1]) if held < samples else start
            if stop > start:
                sample_ranges.append(SampleRange(census, start, stop))
            units.append(ShardUnit(f"{len(units):08d}", sample_ranges))
            ends, start, sample_ranges, held = ends[samples - held :], stop, [], 0
        sample_ranges.append(SampleRange(census, start, len(census.good)))
        held += len(ends)
    if sample_ranges:
        units.append(ShardUnit(f"{len(units):08d}", sample_ranges))
    return units
