"""Says how the CPU time of work grows with its input, which is the same on a slow machine and on a busy one."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FACTOR = 8
"""The larger input's size in sizes of the smaller one: its work takes 8 times as long if linear, 64 times if not."""
LIMIT = 24
TRIES = 3


def assert_linear(work: Callable[[T], object], make: Callable[[int], T], size: int) -> None:
    """Fails if `work` takes more than linear time in the size of what `make` makes.

    `size` is that of the smaller input. Its work must take a millisecond, so that what it begins with does not count.
    Another process can only add to a measured time (caches, interrupts): the least of several tries is compared.
    """
    small, large = make(size), make(FACTOR * size)
    least_small = least_large = float("inf")
    for _ in range(TRIES):
        least_small = min(least_small, _measure(work, small))
        least_large = min(least_large, _measure(work, large))
        if least_large <= LIMIT * least_small:
            return
    raise AssertionError(f"{FACTOR} times the input takes {least_large / least_small:.0f} times as long")


def _measure(work: Callable[[T], object], given: T) -> float:
    before = time.process_time()
    work(given)
    return time.process_time() - before
