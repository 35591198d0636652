"""What a reader may be told, beside the row it reads."""

from pydantic import BaseModel, ConfigDict, Field

from curation.images.decode import DecodeLimits


class ReadOptions(BaseModel):
    """How rows and their images are read. Each option says which sets it is for; the others pass it over."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # blip3-ocr (0 to 5), blip3-grounding (0 to 2). 0, text without boxes, is what BLIP-3 trains on.
    granularity: int = Field(default=0, ge=0, le=5)
    # blip3-ocr, blip3-grounding: the caption that has the image's own alt text before it
    raw_caption: bool = False
    # all: what an image may ask of the decoder, as it is taken from a TIFF, checked, or compared with others
    limits: DecodeLimits = DecodeLimits()
