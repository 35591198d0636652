"""Reads the rows of an annotation set that an export holds: all, or those that the options choose."""

from collections.abc import Iterator

import pyarrow as pa

from pipelines.inputs.row_filter import RowFilter
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.view.options import ViewOptions
from pipelines.view.parquet_files import list_data_files, read_file
from pipelines.view.rows import choose_rows
from pipelines.view.source import SetSource
from schemas.errors import UsageError
from schemas.output_set.recipe_file import format_value, read_stored_recipe
from schemas.storage.folder import Folder


def open_annotations(output_set: str) -> SetSource:
    """Opens an annotation set. Raises `UsageError` for another set."""
    folder = Folder(output_set)
    recipe = read_stored_recipe(folder)
    if recipe.get("kind") != AnnotateRecipe.kind:
        kind = format_value(recipe.get("kind"))
        raise UsageError(f"{folder.url} is not an annotation set, which alone has boxes: its kind is {kind}")
    return SetSource(folder, recipe)


def iterate_tables(source: SetSource, options: ViewOptions) -> Iterator[tuple[str, pa.Table]]:
    """Yields the chosen rows of each file with its name, in the order of the set: all, unless a sample is asked for."""
    names = list_data_files(source)
    if options.key is not None or "sample" in options.model_fields_set:
        choice = choose_rows(names, lambda name: read_file(source, name), options, source.folder.url)
        yield from ((part.name, part.rows) for part in choice.parts)
        return
    condition = None if options.where is None else RowFilter.parse(options.where)
    for number, name in enumerate(names):
        table = read_file(source, name)
        if condition is not None and not number:
            condition.check_columns(table.schema)
        yield name, table if condition is None else condition.apply(table)
