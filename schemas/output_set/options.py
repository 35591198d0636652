"""Defines what all typed options of recipes share."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

Globs = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
"""One glob or a list of globs."""


class Options(BaseModel):
    """Holds options of a recipe. Unknown keys are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)
