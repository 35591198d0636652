"""Defines how the next token is chosen and when an answer ends."""

from typing import Annotated

from pydantic import Field, PositiveInt, model_validator

from schemas.output_set.options import Options


class GenerateOptions(Options):
    """Sets how the next token is chosen and when to stop."""

    max_new_tokens: PositiveInt = 128
    temperature: float = Field(0, ge=0, allow_inf_nan=False, description="0: always the likeliest token")
    top_p: float = Field(
        1, gt=0, le=1, description="draw from the likeliest tokens that together have this probability"
    )
    seed: int = Field(0, description="seeds the draws; the same prompt with the same seed gives the same text")
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="texts before which an answer ends, besides the end tokens"
    )
    beams: PositiveInt = Field(
        1, description="beginnings of an answer that are continued at once; the likeliest whole one by token is taken"
    )

    @model_validator(mode="after")
    def _check_choice(self) -> "GenerateOptions":
        if self.beams > 1 and self.temperature > 0:
            raise ValueError("beams: a beam search takes the likeliest tokens and draws none: set temperature to 0")
        return self
