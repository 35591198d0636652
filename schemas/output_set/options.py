"""What every typed option of a recipe has in common."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

Globs = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
"""One glob or several."""


class Options(BaseModel):
    """Options of a recipe: unknown keys are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)
