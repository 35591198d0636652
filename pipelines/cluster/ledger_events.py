"""Defines the events that workers report to a run's ledger in lists. `at` is the time of the worker's own clock."""

from collections.abc import Mapping
from typing import NamedTuple


class Begin(NamedTuple):
    """A worker starts a chunk of `rows` samples and `size` bytes."""

    at: float
    chunk: str
    rows: int
    size: int
    start: int = 0  # of a slice: its first sample in the chunk. `chunk` then ends with it, as in `0000/1+32`.


class Progress(NamedTuple):
    """A worker has done images of a chunk since its last event, in `busy_seconds`."""

    at: float
    chunk: str
    images: int
    busy_seconds: float


class Finish(NamedTuple):
    """A worker has done a chunk, or a slice."""

    at: float
    chunk: str
    ends_chunk: bool = True
    peak_bytes: int = 0  # the most memory that the worker's process has had


class Heartbeat(NamedTuple):
    """A worker works on something slow."""

    at: float


class Retrying(NamedTuple):
    """A worker's engine is retrying these requests to a server."""

    at: float
    requests: Mapping[str, int]  # by the reason; empty once all are answered


Event = Begin | Progress | Finish | Heartbeat | Retrying
