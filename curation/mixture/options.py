"""What a mixture is asked to be: of which sets, at which shares, until when."""

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from curation.mixture.weights import shares
from schemas.errors import UsageError
from schemas.output_set.options import Globs, Options

Count = Annotated[int, Field(gt=0, strict=True)]  # `true` is no 1


class MixtureOptions(Options):
    """A mixture of sets of training shards, written out by `mix` or drawn from by the trainer."""

    sources: dict[str, Globs] = Field(min_length=1, description="folders of training shards by name, or globs of them")
    weights: dict[str, Any] = Field(description="of these names, in groups or not: see `curation.mixture.weights`")
    unit: Literal["samples", "tokens", "images", "characters"] = Field("samples", description="what weights count")
    repeats: dict[str, Count | None] = Field(
        {}, description="times that a source may be gone through, null: without end; once, for those not named"
    )
    stop: Literal["first_exhausted", "all_exhausted"] | Count = Field(
        "first_exhausted",
        description="as long as no source runs out the shares are those asked for; or a number of samples",
    )
    seed: int = 0

    @property
    def shares(self) -> dict[str, Fraction]:
        """The share of each source, by its dotted path in the weights, which ends in its name."""
        return shares(self.weights)

    @field_validator("sources", "repeats")
    @classmethod
    def _in_order(cls, named: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        unknown = [name for name in named if name not in info.data.get("sources", named)]
        if unknown:
            raise ValueError(f"there is no source {unknown[0]!r}")
        return dict(sorted(named.items()))

    @field_validator("weights")
    @classmethod
    def _of_the_sources(cls, weights: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        try:
            names = [source_name(path) for path in shares(weights)]
        except UsageError as error:
            raise ValueError(str(error)) from None
        sources = info.data.get("sources", names)  # they may be wrong themselves
        for name in names:
            if name not in sources:
                raise ValueError(f"there is no source {name!r}; sources: {', '.join(sources)}")
            if names.count(name) > 1:
                raise ValueError(f"{name} has two weights")
        for name in sources:
            if name not in names:
                raise ValueError(f"source {name!r} has none")
        ordered: dict[str, Any] = _in_order(weights)
        return ordered


def source_name(path: str) -> str:
    """The source's name, of its dotted path in the weights."""
    return path.rpartition(".")[2]


def _in_order(values: Any) -> Any:
    return {key: _in_order(values[key]) for key in sorted(values)} if isinstance(values, dict) else values
