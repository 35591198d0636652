"""Defines the recipe that selects rows of metadata."""

from typing import ClassVar

from pydantic import Field

from curation.selection.rules import SelectionRules
from pipelines.recipes.base import Recipe, RunOptions
from schemas.output_set.options import Globs, RecipePath


class SelectRun(RunOptions):
    """Sets how a selection is carried out. Nothing here can alter its output."""

    subset: RecipePath | None = Field(None, description="also write the uids, as a DataComp subset file (.npy)")


class SelectRecipe(Recipe):
    """Describes a selection of rows of DataComp metadata."""

    kind: ClassVar[str] = "select"
    input: Globs = Field(
        min_length=1, description="globs of Parquet files with `uid`, `url` and the columns that the rules need"
    )
    rules: SelectionRules = SelectionRules()
    uids: Globs = Field([], description="globs of subset files (.npy): keep only rows whose uid is in one of them")
    exclude: Globs = Field(
        [], description="globs of subset files (.npy): drop rows whose uid is in one of them, such as a test set"
    )
    run: SelectRun = SelectRun()
