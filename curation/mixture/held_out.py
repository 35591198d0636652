"""Chooses the samples that are held out of training, by the hash of their number in their source.

So a sample stays held out when a set grows, and the choice needs no memory however many samples there are.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 16  # samples that are hashed at once in a search


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Holds out a share of the samples of each source."""

    share: float  # 0 to 1
    seed: int

    def select(self, source: str, samples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns whether each of a source's samples, given by its number, is held out."""
        salt = int.from_bytes(hashlib.sha256(f"{self.seed}/{source}".encode()).digest()[:8])
        limit = np.uint64(min(int(self.share * 2**64), 2**64 - 1))
        chosen: NDArray[np.bool_] = _mix(samples.astype(np.uint64) + np.uint64(salt)) < limit
        return chosen

    def holds_all(self, source: str, length: int) -> bool:
        """Returns whether no sample of a source of `length` samples is left. It reads on only while none is."""
        starts = range(0, length, _BLOCK)
        blocks = (np.arange(start, min(start + _BLOCK, length), dtype=np.int64) for start in starts)
        return all(bool(self.select(source, block).all()) for block in blocks)

    def find_first(self, source: str, length: int, most: int) -> NDArray[np.int64]:
        """Returns the numbers of the first `most` held-out samples of a source of `length` samples."""
        found = np.zeros(0, np.int64)
        for start in range(0, length, _BLOCK):
            samples = np.arange(start, min(start + _BLOCK, length), dtype=np.int64)
            found = np.concatenate([found, samples[self.select(source, samples)]])
            if len(found) >= most:
                break
        return found[:most]


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns hashes of the values, by the finaliser of SplitMix64 (Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))
