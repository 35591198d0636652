"""How often this process has sent a request to an object store again: what slows a run down without an error."""

_count = _told = 0


def count() -> None:
    """One more."""
    global _count
    _count += 1


def untold() -> int:
    """How many since this was asked last."""
    global _told
    now = _count
    since, _told = now - _told, now
    return since
