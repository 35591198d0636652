"""Finds the lowest score of the top fraction of all input by radix selection: exact, and in one megabyte of memory.

The bits of a float32 can be mapped to integers that sort like the numbers. So two counting passes find the score of a
given rank: the first counts the upper 16 bits of all scores; the second counts the lower 16 bits of those scores whose
upper bits are the ones found. The result is the same for any number of workers. Only the scores' column is read.
"""

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.selection.rules import SelectionRules
from pipelines.inputs.shards import InputShard
from pipelines.output.job import Context
from pipelines.recipes.select import SelectRecipe
from schemas.errors import ShardloomError, UsageError, to_one_line
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.parquet import iterate_batches, open_parquet

HALF_VALUES = 1 << 16  # the number of 16-bit values
BATCH_ROWS = 1 << 20  # rows read at once

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Threshold:
    """Says that rows are kept whose score is at least `value`."""

    column: str
    fraction: float
    value: float
    rows: int  # rows of the input that have a score


def find_threshold(recipe: SelectRecipe, inputs: Sequence[InputShard], fraction: float, context: Context) -> Threshold:
    """Finds the score of rank `rows * fraction`, as DataComp does. Raises `UsageError` if no row has a score."""
    column = recipe.rules.top_column
    with context.show_progress("score threshold", 2 * len(inputs), "files read") as progress:

        def sum_counts(first: int | None) -> Counts:
            result = np.zeros(HALF_VALUES, np.int64)
            for counts in context.runner.map(functools.partial(count_scores, column, first), inputs):
                result += counts
                progress.items += 1  # each file is read twice
                progress.advance(1)
            return result

        counts = sum_counts(None)
        rows = int(counts.sum())
        if not rows:
            raise UsageError(f"no row of the input has a {column}: leave out top_fraction")
        first, rank = locate_rank(counts, min(int(rows * fraction), rows - 1))
        last, _ = locate_rank(sum_counts(first), rank)
    return Threshold(column, fraction, from_ordered_bits(first * HALF_VALUES + last), rows)


def count_scores(column: str, first: int | None, shard: InputShard) -> Counts:
    """Counts the scores of a file by their upper 16 bits.

    If `first` is given, counts by their lower 16 bits only the scores whose upper bits are `first`.
    """
    counts = np.zeros(HALF_VALUES, np.int64)
    for scores in read_scores(column, shard):
        bits = to_ordered_bits(scores)
        halves = bits >> 16 if first is None else bits[bits >> 16 == first] & (HALF_VALUES - 1)
        counts += np.bincount(halves, minlength=HALF_VALUES)
    return counts


def read_scores(column: str, shard: InputShard) -> Iterator[NDArray[np.float32]]:
    """Yields the scores of a file, without null and NaN. Raises `ShardloomError` for a damaged file."""
    folder, name = shard.split_path()
    with folder.open(name) as file:
        try:
            for batch in iterate_batches(open_parquet(file, shard.path), BATCH_ROWS, [column]):
                scores = pc.cast(batch[column], pa.float32(), safe=False).drop_null().to_numpy(zero_copy_only=False)
                yield scores[~np.isnan(scores)]
        except (pa.ArrowException, OSError) as error:
            raise ShardloomError(f"cannot read {shard.path}: {to_one_line(error)}") from None


def to_ordered_bits(scores: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Maps scores to integers that sort in the same order."""
    bits = (scores + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def from_ordered_bits(bits: int) -> float:
    """Returns the score of an integer of `to_ordered_bits`."""
    back = bits & ~(1 << 31) if bits >> 31 else ~bits & 0xFFFFFFFF
    return float(np.uint32(back).view(np.float32))


def locate_rank(counts: Counts, rank: int) -> tuple[int, int]:
    """Returns the value at a rank from the top (0: the highest), and the rank among the scores with that value."""
    above = np.cumsum(counts[::-1])
    steps = int(np.searchsorted(above, rank, "right"))
    return len(counts) - 1 - steps, rank - (int(above[steps - 1]) if steps else 0)


def fingerprint_threshold(threshold: Threshold, pool: str) -> EngineFingerprint:
    """Returns the threshold's fingerprint for manifests, which prevents mixing outputs of different thresholds."""
    settings: dict[str, Any] = {"fraction": threshold.fraction, "least": threshold.value, "rows": threshold.rows}
    return EngineFingerprint(name=threshold.column, version="1", weights_sha256=pool, settings=settings)


def read_stored_threshold(found: EngineFingerprint | None, rules: SelectionRules, pool: str) -> Threshold | None:
    """Restores the threshold from a committed fingerprint; None if it is of another rule or input."""
    if found is None or (found.name, found.weights_sha256) != (rules.top_column, pool):
        return None
    fraction, least, rows = (cast(float, found.settings[name]) for name in ("fraction", "least", "rows"))
    return Threshold(found.name, fraction, least, int(rows)) if fraction == rules.top_fraction else None


def hash_inputs(inputs: Sequence[InputShard]) -> str:
    """Hashes the names and sizes of the input files, which identifies the state of the input."""
    return hashlib.sha256(json.dumps([(shard.name, shard.get_size()) for shard in inputs]).encode()).hexdigest()
