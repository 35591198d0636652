"""Declares families that have one caption for each image, and that take the captions which models wrote."""

from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from curation.captions.family import CaptionFamily, WrittenCaptionOptions


class OneCaptionOptions(WrittenCaptionOptions):
    """Holds the options of such a family: one granularity, and no caption with the alt text beside it."""

    granularities: list[Annotated[int, Field(ge=0, le=0)]] = Field([0], min_length=1)
    raw_caption: Literal["without"] = "without"


declare_family = partial(
    CaptionFamily, column="captions", columns=("captions",), granularities=range(1), threshold=None
)
"""Makes such a family from what distinguishes it."""
