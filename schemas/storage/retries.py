"""Counts the requests to object stores that this process retried: they slow a run down without an error."""

_count = _told = 0


def count() -> None:
    """Counts one retry."""
    global _count
    _count += 1


def untold() -> int:
    """Returns the number of retries since the last call."""
    global _told
    now = _count
    since, _told = now - _told, now
    return since
