"""The index names the files of every row as a dictionary would."""

import numpy as np
import polars as pl
import pytest

from pipelines.render.sample_index import MAX_COPIES, Hashes, SampleIndex, hash_samples


def draw(seed: int, count: int, values: int) -> Hashes:
    """Hashes of `count` values out of so many."""
    known = np.random.default_rng(values).integers(0, 1 << 63, values, dtype=np.uint64) << np.uint64(1)
    return known[np.random.default_rng(seed).integers(0, values, count)]


@pytest.mark.parametrize("files", [1, 2, 7, 8, 300])
def test_as_a_dictionary(files: int) -> None:
    held = [(number, draw(number, 200, 2000)) for number in range(files)]
    everywhere = np.uint64(1 << 40)
    held[-1] = (files - 1, np.append(held[-1][1], everywhere))
    entries = [(number, np.append(hashes, everywhere)) for number, hashes in held[: MAX_COPIES + 1]] + held[
        MAX_COPIES + 1 :
    ]
    index = SampleIndex(entries, 1000 * files, files)
    where: dict[int, set[int]] = {}
    for number, hashes in entries:
        for value in hashes.tolist():
            where.setdefault(value >> files.bit_length(), set()).add(number)
    attributes = [np.append(draw(900, 500, 3000), everywhere), np.append(draw(901, 500, 3000), np.uint64(0))]
    expected = set()
    for row, values in enumerate(zip(*(hashes.tolist() for hashes in attributes), strict=True)):
        found = [where.get(value >> files.bit_length(), set()) for value in values]
        is_for_all = any(len(each) > MAX_COPIES for each in found)
        expected |= {(row, number) for number in ([files] if is_for_all else set().union(*found))}
    rows, numbers = index.route(attributes)
    assert list(zip(rows.tolist(), numbers.tolist(), strict=True)) == sorted(expected)
    assert index.everyone == files
    assert ((500, files) in expected) == (files > MAX_COPIES)


def test_a_value_that_is_repeated_millions_of_times() -> None:
    """In one file: it is one entry, and no reason to send a row to all files."""
    repeated = np.full(2_500_000, 1 << 20, np.uint64)
    index = SampleIndex([(0, repeated), (1, np.array([5 << 20], np.uint64))], 2_500_001, 2)
    rows, numbers = index.route([np.array([1 << 20, 2 << 20, 5 << 20], np.uint64)])
    assert (rows.tolist(), numbers.tolist()) == ([0, 2], [0, 1])


def test_what_is_missing_is_not_hashed() -> None:
    columns = pl.DataFrame(
        {"key": ["0", "1", "2"], "uid": ["a", None, ""], "url": [None, None, None]}, schema_overrides={"url": pl.String}
    )
    assert len(hash_samples(columns, "0")) == 4
    same = pl.DataFrame({"key": ["0"], "uid": ["0"], "url": ["0"], "sha256": ["0"]})
    assert len(set(hash_samples(same, "0").tolist()) | set(hash_samples(same, "1").tolist())) == 5, "a key has a shard"
