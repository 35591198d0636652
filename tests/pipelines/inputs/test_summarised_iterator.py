"""Tests of a stream that has a summary at its end, and not before."""

from collections.abc import Generator

import pytest

from pipelines.inputs.summarised_iterator import SummarisedIterator


def numbers() -> Generator[int, None, str | None]:
    yield 1
    yield 2
    return None


def test_the_summary_is_there_at_the_end_alone() -> None:
    stream = SummarisedIterator(numbers())
    rows = iter(stream)
    assert next(rows) == 1
    with pytest.raises(AssertionError, match="not read to its end"):
        _ = stream.summary
    assert list(rows) == [2]
    assert stream.summary is None
