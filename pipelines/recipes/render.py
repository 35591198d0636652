"""Defines the recipe that renders captions."""

from typing import Any, ClassVar, Self

from pydantic import ConfigDict, Field, PrivateAttr, field_validator

from curation.captions.families import FAMILIES
from curation.captions.family import CaptionOptions
from pipelines.recipes.base import Recipe
from pipelines.recipes.rows import FilteredRows
from schemas.masking import mask_values
from schemas.output_set.options import RecipePath
from schemas.output_set.recipe_paths import anchor_paths


class RenderRecipe(FilteredRows, Recipe):
    """Describes captions of one family, rendered from an annotation set.

    All other keys are the family's options, such as `RenderRecipe(family="grounding", input="set", min_boxes=2)`.
    """

    model_config = ConfigDict(extra="allow")

    kind: ClassVar[str] = "render"
    family: str = Field("ocr", description="the name of a family of captions")
    input: RecipePath = Field(description="the annotation set's folder")
    _options: CaptionOptions = PrivateAttr()

    @field_validator("family")
    @classmethod
    def _check_family(cls, family: str) -> str:
        return FAMILIES.find(family).name

    def model_post_init(self, context: Any) -> None:
        """Validates the family's options. Errors are reported as those of the recipe's own keys."""
        self._options = FAMILIES.find(self.family).options.model_validate(self.model_extra)

    @property
    def options(self) -> CaptionOptions:
        """Returns the family's options, including defaults."""
        return self._options

    def replace_options(self, **options: Any) -> Self:
        """Returns the recipe with other options of the family."""
        return self.model_validate(dict(self) | options)

    @classmethod
    def anchor_paths(cls, values: dict[str, Any], path: str) -> dict[str, Any]:
        """See `Recipe`."""
        family = FAMILIES.find(str(values.get("family", cls.model_fields["family"].default)))
        return anchor_paths(anchor_paths(values, cls, path), family.options, path)

    def resolve(self) -> dict[str, Any]:
        """Returns all that can alter the output, as plain data; the family's options are at the same level."""
        values = {"kind": self.kind, "family": self.family, "input": self.input} | self.options.model_dump(mode="json")
        return mask_values(values | self.dump_row_options())  # type: ignore[no-any-return]
