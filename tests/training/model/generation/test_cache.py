"""The cache holds what transformers' holds, over the edges of its blocks."""

import torch
from transformers import DynamicCache

from training.model.generation.cache import BlockCache


def grow(cache: BlockCache | DynamicCache, lengths: list[int], rows: int = 2) -> list[torch.Tensor]:
    """What two layers are given to attend to, after each of several updates."""
    numbers, found = torch.Generator().manual_seed(0), []
    for length in lengths:
        for layer in range(2):
            new = torch.randn((2, rows, 3, length, 4), generator=numbers)
            found += cache.update(new[0], new[1], layer)
    return found


def test_it_holds_what_transformers_holds() -> None:
    lengths = [250, 1, 5, 1, 256, 1, 1]
    ours, theirs = BlockCache(), DynamicCache()
    for own, other in zip(grow(ours, lengths), grow(theirs, lengths), strict=True):
        assert torch.equal(own, other)
    assert ours.get_seq_length() == theirs.get_seq_length() == sum(lengths)


def test_a_block_is_copied_once() -> None:
    cache = BlockCache()
    for lengths in ([10, *[1] * 246], [1] * 20):
        assert len({view.data_ptr() for view in grow(cache, lengths)}) == 4  # the keys and the values of two layers


def test_rows_are_repeated_and_selected() -> None:
    """Only what follows the prompt is taken from other rows."""
    ours, theirs = BlockCache(), DynamicCache()
    for cache in (ours, theirs):
        grow(cache, [7])
    ours.repeat_rows(2)
    theirs.batch_repeat_interleave(2)
    for cache in (ours, theirs):
        grow(cache, [1, 1], rows=4)
    rows = torch.tensor([1, 1, 2, 2])
    ours.select_rows(rows, start=7)
    theirs.reorder_cache(rows)
    for own, other in zip(grow(ours, [1], rows=4), grow(theirs, [1], rows=4), strict=True):
        assert torch.equal(own, other)
