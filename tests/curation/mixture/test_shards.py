"""Samples found in shards."""

import numpy as np

from curation.mixture.shards import ShardRows


def test_find_skips_empty_shards() -> None:
    shards, rows = ShardRows([3, 0, 2]).find(np.asarray([0, 2, 3, 4]))
    assert shards.tolist() == [0, 0, 2, 2]
    assert rows.tolist() == [0, 2, 0, 1]
