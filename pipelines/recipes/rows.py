"""Defines the options by which a command works on fewer rows than its input has."""

from typing import Any, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from schemas.output_set.options import Options


class ChosenRows(Options):
    """Chooses rows of the input by their places. A set without a choice has none of these keys in its recipe."""

    limit: PositiveInt | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="work on the first rows of the input alone, this many; default: on all",
    )
    sample: PositiveInt | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="work on this many rows of the input, drawn uniformly by `seed`; default: on all",
    )
    seed: NonNegativeInt = Field(
        0, exclude_if=lambda value: value == 0, description="of `sample`; another seed draws other rows"
    )

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        given = [name for name in ("limit", "sample", "where") if getattr(self, name, None) is not None]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} both choose rows: give one of them")
        if self.seed and self.sample is None:
            raise ValueError("seed is for sample: give both, or neither")
        return self

    @property
    def row_option(self) -> str | None:
        """Returns the option that chooses rows, by which manifests name the rows that are left out; None: no option."""
        return next((name for name in ("limit", "sample", "where") if getattr(self, name, None) is not None), None)

    def dump_row_options(self) -> dict[str, Any]:
        """Returns those of these options that are given, as plain data."""
        return self.model_dump(mode="json", include={*ChosenRows.model_fields, "where"})


class FilteredRows(ChosenRows):
    """Chooses rows of the input by their places, or by a condition on their columns."""

    where: str | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="work on the rows for which this condition in polars' SQL is true, such as `width > 300`",
    )
