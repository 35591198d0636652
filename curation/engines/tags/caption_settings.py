"""Defines the settings of the caption tagger, which its declaration and its matcher share."""

from pydantic import BaseModel, ConfigDict


class CaptionTagSettings(BaseModel):
    """Says what `CaptionTags` looks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: str | None = None  # path of a file, see `read_vocabulary`; None for the one that ships
