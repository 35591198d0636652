"""Defines the options of readers."""

from pydantic import BaseModel, ConfigDict, Field

from curation.images.decode import DecodeLimits


class ReadOptions(BaseModel):
    """Says how to read rows and their images. Each option names the sets that it applies to; other sets ignore it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # blip3-ocr (0 to 5), blip3-grounding (0 to 2). BLIP-3 trains on 0, text without boxes.
    granularity: int = Field(default=0, ge=0, le=5)
    # blip3-ocr, blip3-grounding: take the caption that begins with the image's alt text, or the one that does not; by
    # default blip3-grounding takes the latter, unless that is a bare list of objects
    raw_caption: bool | None = None
    # all: limits for decoding an image when it is extracted from a TIFF, checked, or compared with others
    limits: DecodeLimits = DecodeLimits()
