"""Annotates image shards with text, tags, boxes and captions, in one pass over the images."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.annotate.run import annotate as annotate


def __getattr__(name: str) -> Any:
    """Imports `annotate` on first use: every worker process imports this package and needs only half of it."""
    if name != "annotate":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipelines.annotate.run import annotate

    return annotate
