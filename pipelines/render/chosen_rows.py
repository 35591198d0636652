"""Reads the rows of an annotation file that a recipe chooses."""

import io
import itertools
from dataclasses import dataclass

import pyarrow as pa

from pipelines.inputs.row_choice import RowChoice, choose_rows
from pipelines.inputs.row_filter import RowFilter
from pipelines.recipes.render import RenderRecipe
from pipelines.render.units import find_data, get_data_name
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder
from schemas.storage.parquet import read_parquet_schema, read_table


@dataclass(frozen=True, slots=True)
class ChosenTable:
    """Holds the chosen rows of an annotation file."""

    rows: pa.Table
    rows_in: int  # of the file
    left_out: dict[str, int]  # rows that are not chosen, by the option that chooses; empty without one


def choose_sources(recipe: RenderRecipe, sources: list[Manifest]) -> list[tuple[Manifest, RowChoice | None]]:
    """Returns the annotation files with chosen rows, each with its choice."""
    return choose_rows(recipe, sources, lambda source: source.name, _count_rows)


def open_condition(recipe: RenderRecipe, annotations: Folder, sources: list[Manifest]) -> RowFilter | None:
    """Returns the condition of a recipe. Raises `UsageError` if the annotations have no such columns."""
    if recipe.where is None:
        return None
    condition = RowFilter.parse(recipe.where)
    source = next((source for source in sources if _count_rows(source)), None)
    if source is not None:
        annotations.check_inside(get_data_name(source))
        with annotations.open(get_data_name(source)) as file:
            condition.check_columns(read_parquet_schema(file, annotations.resolve_path(get_data_name(source))))
    return condition


def read_chosen(
    data: bytes, columns: list[str], path: str, choice: RowChoice | None, condition: RowFilter | None
) -> ChosenTable:
    """Reads the columns of the chosen rows of the annotation file in `data`."""
    wanted = columns if condition is None else list(dict.fromkeys([*columns, *condition.list_columns()]))
    table = read_table(io.BytesIO(data), wanted, path)
    if condition is not None:
        chosen = condition.apply(table) if table.num_rows else table
        left_out = {"where": table.num_rows - chosen.num_rows}
        held = [name for name in columns if name in table.column_names]
        return ChosenTable(chosen.select(held), table.num_rows, left_out)
    if choice is not None:
        mask = pa.array(itertools.islice(choice.mark_rows(), table.num_rows), pa.bool_())
        chosen = table.filter(mask)
        return ChosenTable(chosen, table.num_rows, {choice.option: table.num_rows - chosen.num_rows})
    return ChosenTable(table, table.num_rows, {})


def _count_rows(source: Manifest) -> int:
    file = find_data(source)
    return 0 if file is None else file.rows
