"""Finds the shard and row of a source's sample.

Plans number samples without regard to shards, so that re-sharding a source does not change its order.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class ShardRows:
    """Locates the samples of a source; `rows` are the row counts of its shards, in the order of their names."""

    def __init__(self, rows: Sequence[int]) -> None:
        self._ends = np.cumsum(np.asarray(rows, np.int64))
        self._starts = self._ends - np.asarray(rows, np.int64)

    def find(self, samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the shard and the row in it of each sample, from 0."""
        shards = np.searchsorted(self._ends, samples, "right")
        return shards, samples - self._starts[shards]
