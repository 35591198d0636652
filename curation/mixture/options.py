"""Defines the options of a mixture: its sets, their shares, and when it stops."""

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from curation.mixture.image_tokens import MULTIMODAL_TOKENS, ImageTokens
from curation.mixture.weights import compute_shares
from schemas.errors import UsageError
from schemas.output_set.options import Globs, Options, RecipePath

Count = Annotated[int, Field(gt=0, strict=True)]  # strict: YAML's `true` is not 1


class MixtureOptions(Options):
    """Describes a mixture of sets of training shards, which `mix` writes out or the trainer draws from."""

    sources: dict[str, Globs] = Field(
        min_length=1, description="folders of training shards, or globs of folders, by name of the source"
    )
    weights: dict[str, Any] = Field(
        description="weight of each source, by name, nested in groups or not: see `curation.mixture.weights`"
    )
    unit: Literal["samples", "tokens", "images", "characters", "multimodal_tokens"] = Field(
        "samples", description="the unit in which weights are counted; multimodal_tokens: of the texts and the images"
    )
    image_tokens: ImageTokens | None = Field(
        None,
        validate_default=True,
        exclude_if=lambda rule: rule is None,
        description="for multimodal_tokens: the tokens of an image, a number or the rule of any resolution; by default "
        "the trainer counts those that its model makes",
    )
    repeats: dict[str, Count | None] = Field(
        {}, description="maximum epochs of a source, by name; null: no limit; 1 for sources not named"
    )
    stop: Literal["first_exhausted", "all_exhausted"] | Count = Field(
        "first_exhausted",
        description="when the mixture ends: until a source is exhausted, the shares are exact; or a number of samples",
    )
    seed: int = 0
    images: dict[str, RecipePath] = Field(
        {},
        exclude_if=lambda images: not images,
        description="present folders of the image tars of sets by reference, by the folder that a set names or one "
        "above it; default: where the set names them, or in the same place beside the set",
    )

    @property
    def shares(self) -> dict[str, Fraction]:
        """The share of each source, by its dotted path in the weights; the path ends in the source's name."""
        return compute_shares(self.weights)

    @field_validator("image_tokens")
    @classmethod
    def _check_unit(cls, rule: ImageTokens | None, info: ValidationInfo) -> ImageTokens | None:
        unit = info.data.get("unit", MULTIMODAL_TOKENS)
        if rule is not None and unit != MULTIMODAL_TOKENS:
            raise ValueError(f"the unit is {unit!r}, which counts none of them: set unit: {MULTIMODAL_TOKENS}")
        return rule

    @field_validator("sources", "repeats")
    @classmethod
    def _check_and_sort_names(cls, named: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        unknown = [name for name in named if name not in info.data.get("sources", named)]
        if unknown:
            raise ValueError(f"there is no source {unknown[0]!r}")
        return dict(sorted(named.items()))

    @field_validator("weights")
    @classmethod
    def _check_weights(cls, weights: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        try:
            names = [get_source_name(path) for path in compute_shares(weights)]
        except UsageError as error:
            raise ValueError(str(error)) from None
        sources = info.data.get("sources", names)  # absent if they are invalid themselves
        for name in names:
            if name not in sources:
                raise ValueError(f"there is no source {name!r}; sources: {', '.join(sources)}")
            if names.count(name) > 1:
                raise ValueError(f"{name} has two weights")
        for name in sources:
            if name not in names:
                raise ValueError(f"source {name!r} has no weight")
        ordered: dict[str, Any] = _sort_keys(weights)
        return ordered


def get_source_name(path: str) -> str:
    """Returns the source's name, which is the last part of its dotted path in the weights."""
    return path.rpartition(".")[2]


def _sort_keys(values: Any) -> Any:
    return {key: _sort_keys(values[key]) for key in sorted(values)} if isinstance(values, dict) else values
