"""What captions a render is asked for, of each family."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from pipelines.recipes.base import Recipe


class RenderRecipe(Recipe):
    """Renders the OCR captions of an annotation set."""

    kind: ClassVar[str] = "render"
    family: Literal["ocr"] = "ocr"
    input: str = Field(description="the annotation set's folder")
    granularities: list[Annotated[int, Field(ge=0, le=5)]] = Field([0, 1, 2, 3, 4, 5], min_length=1)
    raw_caption: Literal["with", "without", "both"] = "both"
    min_confidence: float = Field(
        0.0, ge=0, le=1, description="the engine's own floor stands; raise it here at no cost"
    )
    min_lines: PositiveInt = Field(1, description="an image without text has no OCR caption")


class RenderGroundingRecipe(Recipe):
    """Renders the grounding captions of an annotation set."""

    kind: ClassVar[str] = "render"
    family: Literal["grounding"] = "grounding"
    input: str = Field(description="the annotation set's folder")
    granularities: list[Annotated[int, Field(ge=0, le=2)]] = Field([0, 1, 2], min_length=1)
    raw_caption: Literal["with", "without", "both"] = "both"
    caption_from: str | None = Field(
        None,
        description="glob of Parquet files with uid and a caption to put the places into; default: the alt text. "
        "Every annotation file scans all of these",
    )
    caption_column: str | None = Field(None, description="of these files; default: caption, else cogvlm_caption")
    min_score: float = Field(0.0, ge=0, le=1, description="the detector's own floor stands; raise it here at no cost")
    min_boxes: PositiveInt = Field(1, description="an image in which nothing was found has no grounding caption")
