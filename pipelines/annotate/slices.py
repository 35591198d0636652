"""Cuts the last chunks of a run into slices, so that no worker idles for long while others do the last chunks.

An engine whose annotations may depend on the batch sees the same batches in slices as in the whole chunk. The slices of
a chunk are written one by one and then joined into its part, which is the same as that of the whole chunk.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.annotate.pools import QUEUED_CHUNKS
from pipelines.inputs.shards import InputShard

SLICES = 12  # of a chunk: a worker holds two more while it works, so that another may idle for three of them
MIN_SLICES = 4  # fewer would not be worth the joining


@dataclass(frozen=True, slots=True)
class TailPlan:
    """Describes the end of a run: which are its last chunks, and how they are cut into slices."""

    last: Mapping[str, int] = field(default_factory=dict)  # the last shards, and the bytes that their reader reads then
    chunks: int = 0  # at the end of what each reader reads
    unit: int = 1  # samples that must stay together: whole batches of every engine that they matter to
    is_cut: bool = True  # False for one worker, which nobody can help

    def cut(self, rows: int) -> list[int]:
        """Returns the first rows of the slices of a chunk. A chunk of few batches stays whole."""
        step = max(1, math.ceil(rows / SLICES / self.unit)) * self.unit
        starts = list(range(0, rows, step))
        return starts if self.is_cut and len(starts) >= MIN_SLICES else starts[:1]


def plan_tail(
    shards: Sequence[InputShard], chunk_bytes: int, workers: int, readers: int, units: Sequence[int]
) -> TailPlan:
    """Returns the plan of the last chunks of a run with this many workers and readers.

    There are as many as wait at all workers, and one more for each reader: what one worker still has to do in whole
    chunks when the first slice comes, the others can do in slices. `workers` are those of the largest pool.
    `chunk_bytes` is the largest size of a chunk.
    """
    chunks = math.ceil((QUEUED_CHUNKS - 1) * workers / readers) + 1
    last: dict[str, int] = {}
    later = [0] * readers  # bytes of each reader's shards in `last`
    found = 0
    for place, shard in enumerate(reversed(shards)):
        if len(last) >= readers and found >= chunks * readers:
            break
        size = shard.estimate_chosen_size()
        last[shard.name] = later[place % readers]
        later[place % readers] += size
        found += min(chunks, math.ceil(size / chunk_bytes) or 1)
    return TailPlan(last, chunks, math.lcm(*units), workers > 1)
