"""Shuffles a source by a cycle-walking permutation, another one in each epoch, computed for any position on demand.

The permutation mixes numbers of as many bits as the length needs. Each step (multiply by an odd number, add, XOR the
upper half onto the lower) is invertible, so distinct numbers stay distinct. A result past the length is permuted again
(cycle walking). The permutation spans the whole source, regardless of shards, and resuming needs no buffer. Keys are
derived from the seed and the source's name: adding a source to a mixture does not change the order of the others.

Sources of up to 64 samples are shuffled by sorting random numbers: so few bits mix badly, and cycle walking would take
many passes.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDS = 4
_SMALL_SOURCE = 64
_PIECE = 1 << 16  # numbers mixed at a time, so that they stay in the processor's cache

Ints = NDArray[np.int64]
Words = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Shuffle:
    """Defines the order of a source of `length` samples; arrays of lengths and keys shuffle many sources at once."""

    length: Ints
    key: Words

    @classmethod
    def for_source(cls, length: int, seed: int, name: str) -> "Shuffle":
        """Returns the order of the source of this name."""
        digest = hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
        return cls(np.asarray(length, np.int64), np.asarray(int.from_bytes(digest, "little"), np.uint64))

    def permute(self, ordinals: Ints) -> Ints:
        """Returns the samples drawn at these ordinals (0 is the source's first draw, `length` the first of epoch 1).

        Scalar `length` and `key` apply to all ordinals; arrays contain one value per ordinal.
        """
        samples = np.empty_like(ordinals)
        if self.length.ndim:
            many = self.length > _SMALL_SOURCE
            epochs, places = np.divmod(ordinals[many], self.length[many])
            samples[many] = _permute(places, epochs, self.length[many], self.key[many])
            for key in np.unique(self.key[~many]):
                few = np.flatnonzero(~many & (self.key == key))
                samples[few] = _deal(ordinals[few], int(self.length[few[0]]), np.asarray(key))
            return samples
        length = int(self.length)
        for first in range(0, len(ordinals), _PIECE):
            piece = ordinals[first : first + _PIECE]
            if length <= _SMALL_SOURCE:
                samples[first : first + _PIECE] = _deal(piece, length, self.key)
                continue
            low, high = int(piece.min()) // length, int(piece.max()) // length
            epochs = np.asarray(low) if low == high else piece // length
            samples[first : first + _PIECE] = _permute(piece - epochs * length, epochs, self.length, self.key)
        return samples


def _deal(ordinals: Ints, length: int, key: Words) -> Ints:
    """Shuffles a small source by sorting random numbers, which are new in each epoch."""
    epochs, rows = np.unique(ordinals // length, return_inverse=True)
    with np.errstate(over="ignore"):
        lots = _apply_splitmix64(
            key + (epochs[:, None] * _SMALL_SOURCE + np.arange(length)).astype(np.uint64) * _GOLDEN
        )
    dealt: Ints = np.argsort(lots, axis=1, kind="stable")[rows, ordinals % length]
    return dealt


def _permute(places: Ints, epochs: Ints, length: Ints, key: Words) -> Ints:
    """Permutes places, each below its length, by the keys of their epochs, with cycle walking."""
    bits = np.frexp((length - 1).astype(np.float64))[1].astype(np.int64)
    # up to 32 bits, 32-bit arithmetic is twice as fast; the bits that it drops would be masked out later
    kind: type[np.unsignedinteger[Any]] = np.uint32 if int(bits.max(initial=0)) <= 32 else np.uint64
    masks, shifts = ((1 << bits) - 1).astype(kind), ((bits + 1) >> 1).astype(kind)
    rounds = np.arange(ROUNDS).reshape(ROUNDS, *[1] * epochs.ndim)
    with np.errstate(over="ignore"):  # numpy warns of overflow for scalars only
        words = _apply_splitmix64(key + (epochs * ROUNDS + rounds).astype(np.uint64) * _GOLDEN)
    factors, addends = (words | np.uint64(1)).astype(kind), (words >> np.uint64(32)).astype(kind)
    numbers, limit = places.astype(kind), (length - 1).astype(kind)
    _mix_once(numbers, factors, addends, masks, shifts)
    past = np.flatnonzero(numbers > limit)
    while past.size:
        again = numbers[past]
        _mix_once(
            again, _select(factors, past, 1), _select(addends, past, 1), _select(masks, past), _select(shifts, past)
        )
        numbers[past] = again
        past = past[again > _select(limit, past)]
    return numbers.astype(np.int64)


def _mix_once(numbers: Words, factors: Words, addends: Words, mask: Words, shift: Words) -> None:
    """Applies one pass of the permutation of the numbers up to `mask`, in place."""
    folded = np.empty_like(numbers)
    for factor, addend in zip(factors, addends, strict=True):
        numbers *= factor
        numbers += addend
        numbers &= mask
        np.right_shift(numbers, shift, out=folded)
        numbers ^= folded


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _apply_splitmix64(words: Words) -> Words:
    """Applies SplitMix64's finaliser, which makes similar keys unlike."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _select(values: Words, indices: Ints, dimensions: int = 0) -> Words:
    """Selects along the last axis. Values of at most `dimensions` axes apply to all indices and are returned as is."""
    return values[..., indices] if values.ndim > dimensions else values
