"""Which rows of metadata are asked for."""

from typing import ClassVar

from pydantic import Field

from curation.selection.rules import SelectionRules
from pipelines.recipes.base import Recipe, RunOptions
from schemas.output_set.options import Globs


class SelectRun(RunOptions):
    """How a selection is carried out."""

    subset: str | None = Field(None, description="also writes the uids, as a subset file of DataComp's (.npy)")


class SelectRecipe(Recipe):
    """Chooses rows of DataComp's metadata."""

    kind: ClassVar[str] = "select"
    input: Globs = Field(
        min_length=1, description="globs of Parquet files with `uid`, `url` and what the rules look at"
    )
    rules: SelectionRules = SelectionRules()
    uids: Globs = Field([], description="globs of subset files (.npy): rows stay whose uid is in one of them")
    exclude: Globs = Field([], description="the same: rows stay whose uid is in none, as those of a test set")
    run: SelectRun = SelectRun()
