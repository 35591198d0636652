"""Filters images by their decoded size; each filter is a pure function that returns a `Rejected` or None.

Filters on lines of text (confidence, number) belong to rendering, where changing them needs no new annotation.
"""

from pydantic import BaseModel, ConfigDict, Field

from schemas.records.quarantine import Reason, Rejected


class ImageFilters(BaseModel):
    """Says which images are left out before an engine sees them. None switches a filter off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Pixels. Leaves out spacers, bullets and tracking pixels. Half of the detector's stride is the least that can hold
    # a line; word crops of 17 pixels and more are read, and one in twenty web pictures has a side under 30.
    min_side: int | None = Field(default=16, gt=0)
    # Longer over shorter side. Leaves out rulers and borders. Single lines cut from a page are real text, and in
    # scanned sets they are up to 41 times as long as they are high.
    max_aspect: float | None = Field(default=50.0, ge=1)


def find_image_fault(width: int, height: int, filters: ImageFilters) -> Rejected | None:
    """Returns the first filter's reason to leave out an image of `width` x `height` pixels, or None to keep it."""
    return check_side(width, height, filters.min_side) or check_aspect(width, height, filters.max_aspect)


def check_side(width: int, height: int, min_side: int | None) -> Rejected | None:
    """Leaves out images whose shorter side is under `min_side` pixels."""
    if min_side is None or min(width, height) >= min_side:
        return None
    return Rejected(Reason.TOO_SMALL, f"{width} x {height} pixels, the least side is {min_side}")


def check_aspect(width: int, height: int, max_aspect: float | None) -> Rejected | None:
    """Leaves out images whose longer side is more than `max_aspect` times the shorter one."""
    if max_aspect is None or max(width, height) <= max_aspect * min(width, height):
        return None
    return Rejected(Reason.EXTREME_ASPECT, f"{width} x {height} pixels, the most is {max_aspect:g} to 1")
