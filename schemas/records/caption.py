"""Defines a caption made from annotations."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caption:
    """Holds one caption of an image, with the fields that the published BLIP3 sets store for each caption."""

    text: str
    granularity: int
    """0-based, as in the released data; the paper's "Level" is granularity + 1."""
    include_datacomp_raw_cap: bool
    """True if the image's own alt text precedes the rendered sentence."""
