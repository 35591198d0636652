"""Annotates image shards: text, tags and boxes in one pass over the images."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.annotate.run import annotate as annotate


def __getattr__(name: str) -> Any:
    """Imports `annotate` when it is asked for: each process of a worker imports this folder, and needs half of it."""
    if name != "annotate":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipelines.annotate.run import annotate

    return annotate
