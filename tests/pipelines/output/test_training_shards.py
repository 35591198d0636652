"""Row groups of Parquet shards: bounded by rows and by bytes, in the order of the samples."""

import pytest

from pipelines.output.training_shards import GROUP_ROWS, Sample, group_samples, make_span, pad_size, sum_counts
from schemas.tar.header import BLOCK

MIB = 1 << 20


def sample(key: int, size: int) -> Sample:
    """A sample that takes `size` bytes in a tar, in whole blocks; samples of equal size share their bytes."""
    return Sample(str(key), [("jpg", bytes(size - BLOCK))], {}, dict)


def group_sizes(sizes: list[int]) -> list[list[int]]:
    groups = list(group_samples(sample(key, size) for key, size in enumerate(sizes)))
    assert [one.key for group in groups for one in group] == [str(key) for key in range(len(sizes))]
    return [[one.size for one in group] for group in groups]


def test_a_group_holds_at_most_64_samples() -> None:
    assert GROUP_ROWS == 64
    assert [len(group) for group in group_sizes([2 * BLOCK] * 129)] == [64, 64, 1]


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([16 * MIB] * 3, [[16 * MIB] * 2, [16 * MIB]]),
        ([16 * MIB, 16 * MIB + BLOCK], [[16 * MIB], [16 * MIB + BLOCK]]),
        ([BLOCK * 2, 33 * MIB, BLOCK * 2], [[BLOCK * 2], [33 * MIB], [BLOCK * 2]]),
        ([33 * MIB], [[33 * MIB]]),
        ([], []),
    ],
)
def test_a_group_takes_at_most_32_mib_unless_one_sample_does(sizes: list[int], groups: list[list[int]]) -> None:
    assert group_sizes(sizes) == groups


@pytest.mark.parametrize(("size", "padded"), [(0, 0), (1, BLOCK), (BLOCK, BLOCK), (BLOCK + 1, 2 * BLOCK)])
def test_files_take_whole_blocks(size: int, padded: int) -> None:
    assert pad_size(size) == padded


def test_a_sample_spans_all_its_members() -> None:
    members = [{"offset": 1536, "size": 600}, {"offset": 512, "size": 100}]
    assert make_span(0, members) == {"offset": 0, "size": 1536 + 1024, "members": members}


def test_counts_are_sums_over_the_samples() -> None:
    rows = [{"characters": 3, "images": 1, "tokens": 2}, {"characters": 0, "images": 2, "tokens": 0}]
    counts = {"characters": 3, "images": 3, "empty_texts": 1}
    assert sum_counts(rows, with_tokens=False) == counts
    assert sum_counts(rows, with_tokens=True) == counts | {"tokens": 2}
