"""Cuts the last chunks of a run into slices, so that no worker idles for long while others do the last chunks.

A slice has whole batches of every pool: an engine sees the same batches as in the whole chunk. The slices of a chunk
are written one by one and then joined into its part, which is the same as that of the whole chunk.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.annotate.pools import QUEUED_CHUNKS
from pipelines.inputs.shards import InputShard

SLICES = 12  # of a chunk: a worker holds two more while it works, so that another may idle for three of them
MIN_SLICES = 4  # fewer would not be worth the joining


@dataclass(frozen=True, slots=True)
class TailPlan:
    """Describes the end of a run: which chunks of its last shards are cut into slices."""

    last: frozenset[str] = frozenset()  # the names of the last shards, which readers read at the same time
    chunks: int = 0  # at the end of each
    unit: int = 1  # samples that must stay together: a whole number of every pool's batches

    def cut(self, rows: int) -> list[int]:
        """Returns the first rows of the slices of a chunk. A chunk of few batches stays whole."""
        step = max(1, math.ceil(rows / SLICES / self.unit)) * self.unit
        starts = list(range(0, rows, step))
        return starts if len(starts) >= MIN_SLICES else starts[:1]


def plan_tail(
    shards: Sequence[InputShard], chunk_bytes: int, workers: int, readers: int, batch_sizes: Sequence[int]
) -> TailPlan:
    """Returns the plan of the last chunks, as many as all workers hold, of a run with this many workers and readers.

    `workers` are those of the largest pool. `chunk_bytes` is the largest size of a chunk.
    """
    if workers < 2:
        return TailPlan()
    chunks = math.ceil(QUEUED_CHUNKS * workers / readers) + QUEUED_CHUNKS
    last: list[str] = []
    found = 0
    for shard in reversed(shards):
        if len(last) >= readers and found >= chunks * readers:
            break
        last.append(shard.name)
        found += min(chunks, math.ceil(shard.estimate_chosen_size() / chunk_bytes) or 1)
    return TailPlan(frozenset(last), chunks, math.lcm(*batch_sizes))
