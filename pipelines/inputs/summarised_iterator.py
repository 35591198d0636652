"""Wraps a stream that has a summary at its end."""

from collections.abc import Generator, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
S = TypeVar("S")

_UNKNOWN = object()


class SummarisedIterator(Generic[T, S]):
    """Iterates once over a generator and keeps the value that it returns."""

    def __init__(self, generator: Generator[T, None, S]) -> None:
        self._generator = generator
        self._summary: S | object = _UNKNOWN

    def __iter__(self) -> Iterator[T]:
        self._summary = yield from self._generator

    @property
    def summary(self) -> S:
        """Returns the generator's return value. Raises `AssertionError` before the whole stream is read."""
        assert self._summary is not _UNKNOWN, "the stream is not read to its end"
        return self._summary  # type: ignore[return-value]
