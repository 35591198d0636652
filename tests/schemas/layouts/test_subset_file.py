"""Subset files are searched as a set would be, and what is none is refused in one line."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import UsageError
from schemas.layouts.subset_file import (
    PIECE_UIDS,
    UID_DTYPE,
    FirstSeenFilter,
    check_subset,
    isin_sorted,
    open_subset,
    sort_unique,
)

HALVES = st.sampled_from([0, 1, 2, 3, 1 << 63, (1 << 64) - 1])  # few, so that many uids begin alike
PAIRS = st.lists(st.tuples(HALVES, HALVES), max_size=60)


def uids(pairs: list[tuple[int, int]]) -> np.ndarray:
    return np.array(pairs, UID_DTYPE)


@given(PAIRS, PAIRS)
def test_contains_is_that_of_a_set(held: list[tuple[int, int]], wanted: list[tuple[int, int]]) -> None:
    assert isin_sorted(np.sort(uids(held)), uids(wanted)).tolist() == [pair in set(held) for pair in wanted]


@given(PAIRS)
def test_sorted_uids(pairs: list[tuple[int, int]]) -> None:
    assert sort_unique(uids(pairs)).tolist() == sorted(set(pairs))


@given(st.lists(PAIRS, max_size=8))
def test_first_seen_is_that_of_a_set(calls: list[list[tuple[int, int]]]) -> None:
    first_seen, seen = FirstSeenFilter(), set()
    for pairs in calls:
        expected = []
        for pair in pairs:
            expected.append(pair not in seen)
            seen.add(pair)
        assert first_seen(uids(pairs)).tolist() == expected


def test_a_file_is_mapped_and_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "subset.npy", uids([(1, 2), (1, 3), (4, 0)]))
    found = open_subset(str(tmp_path / "subset.npy"))
    assert isinstance(found, np.memmap)
    assert found.tolist() == [(1, 2), (1, 3), (4, 0)]


def test_an_empty_subset_holds_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "none.npy", uids([]))
    assert check_subset(str(tmp_path / "none.npy")).size == (tmp_path / "none.npy").stat().st_size
    assert isin_sorted(open_subset(str(tmp_path / "none.npy")), uids([(1, 2)])).tolist() == [False]


def test_a_sorted_file_may_hold_a_uid_twice(tmp_path: Path) -> None:
    """`numpy.sort`, which the message on an unsorted file names, keeps repeats."""
    np.save(tmp_path / "subset.npy", np.sort(uids([(3, 0), (1, 2), (1, 2), (1, 3), (3, 0)])))
    assert check_subset(str(tmp_path / "subset.npy")).size == (tmp_path / "subset.npy").stat().st_size
    wanted = uids([(1, 2), (2, 2), (3, 0)])
    assert isin_sorted(open_subset(str(tmp_path / "subset.npy")), wanted).tolist() == [True, False, True]


@pytest.mark.parametrize("at", [1, PIECE_UIDS - 1, PIECE_UIDS, PIECE_UIDS + 1])
def test_an_unsorted_file_is_refused(tmp_path: Path, at: int) -> None:
    held = np.zeros(PIECE_UIDS + 2, UID_DTYPE)
    held["f1"] = np.arange(PIECE_UIDS + 2)
    np.save(tmp_path / "subset.npy", held)
    check_subset(str(tmp_path / "subset.npy"))
    held["f1"][at] = held["f1"][at - 1] - 1 if at > 1 else 0
    held["f0"][at - 1] = 1 if at == 1 else 0
    np.save(tmp_path / "subset.npy", held)
    with pytest.raises(UsageError, match=r"subset\.npy is not sorted: sort it by numpy\.save\(FILE, numpy\.sort"):
        check_subset(str(tmp_path / "subset.npy"))


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "subset.npy"
    np.save(path, np.array([{"pickled": "object"}], dtype=object), allow_pickle=True)
    with pytest.raises(
        UsageError, match=r"subset\.npy is not a \.npy file: Array can't be memory-mapped: Python objects"
    ):
        open_subset(str(path))
    for held in (np.arange(3), np.zeros((2, 2), UID_DTYPE), np.zeros(3, ">u8,>u8"), np.zeros(3, "u8,u4")):
        np.save(path, held)
        with pytest.raises(UsageError, match=r"subset\.npy is not a subset file: it holds .*, not one row of 'u8,u8'"):
            open_subset(str(path))
    np.save(path, uids([(1, 2), (3, 4)]))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UsageError, match=r"subset\.npy is not a \.npy file: mmap length is greater than file size"):
        open_subset(str(path))
    path.write_bytes(b"")
    with pytest.raises(
        UsageError, match=r"subset\.npy is not a \.npy file: it does not begin with NumPy's magic bytes"
    ):
        open_subset(str(path))
    path.write_text("uid\n")
    with pytest.raises(
        UsageError, match=r"subset\.npy is not a \.npy file: it does not begin with NumPy's magic bytes$"
    ):
        open_subset(str(path))
    np.savez(tmp_path / "several.npz", uids([(1, 2)]))
    (tmp_path / "several.npz").rename(path)
    with pytest.raises(UsageError, match=r"subset\.npy is compressed by zip, which is not read: decompress it first"):
        open_subset(str(path))
