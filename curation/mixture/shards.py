"""From a source's sample to its place: a plan knows no shards, so that cutting a source anew leaves its order alone."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class ShardRows:
    """Where the samples of a source lie; `rows` counts those of each shard, in the order of their names."""

    def __init__(self, rows: Sequence[int]) -> None:
        self._ends = np.cumsum(np.asarray(rows, np.int64))
        self._starts = self._ends - np.asarray(rows, np.int64)

    def find(self, samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The shard and the row of each sample."""
        shards = np.searchsorted(self._ends, samples, "right")
        return shards, samples - self._starts[shards]
