"""Defines the options by which a command works on fewer rows than its input has."""

from typing import Any

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationInfo, field_validator

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

    @field_validator("sample")
    @classmethod
    def _check_sample(cls, sample: int | None, info: ValidationInfo) -> int | None:
        if sample is not None and info.data.get("limit") is not None:
            raise ValueError("limit chooses rows too: give one of them")
        return sample

    @field_validator("seed")
    @classmethod
    def _check_seed(cls, seed: int, info: ValidationInfo) -> int:
        if seed and info.data.get("sample") is None:
            raise ValueError("it is for sample: give both, or neither")
        return seed

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

    @field_validator("where")
    @classmethod
    def _check_where(cls, where: str | None, info: ValidationInfo) -> str | None:
        if where is not None and (other := next((name for name in ("limit", "sample") if info.data.get(name)), None)):
            raise ValueError(f"{other} chooses rows too: give one of them")
        return where
