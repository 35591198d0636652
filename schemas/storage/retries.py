"""Counts the requests to object stores that this process retried: they slow a run down without an error."""

_count = _taken = 0


def count_retry() -> None:
    """Counts one retry."""
    global _count
    _count += 1


def take_retry_count() -> int:
    """Returns the number of retries since the last call."""
    global _taken
    now = _count
    since, _taken = now - _taken, now
    return since
