"""A caption made from annotations."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption of an image, with the fields that the published BLIP3 sets give each of theirs."""

    text: str
    granularity: int
    """0-based, as in the released data; the paper's "Level" is this plus one."""
    include_datacomp_raw_cap: bool
    """Whether the image's own alt text stands before the rendered sentence."""
