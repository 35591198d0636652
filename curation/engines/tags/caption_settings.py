"""Settings of the caption tagger, which its declaration and its matcher share."""

from pydantic import BaseModel, ConfigDict


class CaptionTagSettings(BaseModel):
    """What `CaptionTags` looks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: str | None = None  # path of a file, as `read_vocabulary` takes it; None for the one that ships here
