"""Keeps the keys and values of the positions that a model has read, in memory that grows by blocks.

transformers' `DynamicCache` copies all of them for each new token. It is the base, so that the mask builders of
transformers see a cache that they know.
"""

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

_BLOCK = 256  # positions that memory grows by: one copy for as many tokens, and as many positions unused at most


class BlockLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Holds one layer's keys and values [B, heads, capacity, head_dim], of which the first `length` are used."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.length = 0

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Appends keys and values [B, heads, n, head_dim]; returns all of them, as views."""
        start, self.length = self.length, self.length + key_states.shape[2]
        if not self.is_initialized:
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
            self.keys, self.values = _reserve(key_states, self.length), _reserve(value_states, self.length)
        assert self.keys is not None
        assert self.values is not None
        if self.length > self.keys.shape[2]:
            used = self.keys[:, :, :start], self.values[:, :, :start]
            self.keys, self.values = _reserve(self.keys, self.length), _reserve(self.values, self.length)
            self.keys[:, :, :start], self.values[:, :, :start] = used
        self.keys[:, :, start : self.length] = key_states
        self.values[:, :, start : self.length] = value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def get_seq_length(self) -> int:
        """Returns the number of positions that are used."""
        return self.length

    def select_rows(self, rows: Tensor, start: int) -> None:
        """Replaces each row's positions from `start` on by those of another row, int64 [B]."""
        for held in (self.keys, self.values):
            assert held is not None
            held[:, :, start : self.length] = held[:, :, start : self.length].index_select(0, rows)


class BlockCache(Cache):
    """Holds the layers of a model."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=BlockLayer)

    def repeat_rows(self, times: int) -> None:
        """Repeats each row, one after the other."""
        for layer in self.layers:
            assert isinstance(layer, BlockLayer)
            layer.batch_repeat_interleave(times)

    def select_rows(self, rows: Tensor, start: int) -> None:
        """Replaces each row from position `start` on by another row; before that they must be equal."""
        for layer in self.layers:
            assert isinstance(layer, BlockLayer)
            layer.select_rows(rows, start)


def _reserve(like: Tensor, length: int) -> Tensor:
    """Returns memory for `length` positions and the rest of their block."""
    blocks = -(-length // _BLOCK)
    return like.new_empty((*like.shape[:2], blocks * _BLOCK, like.shape[3]))
