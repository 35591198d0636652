"""Selects rows of DataComp's metadata by rules: writes one file of kept rows for each input file."""

import functools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa

from curation.selection.rules import ColumnKind, is_of_kind
from pipelines.inputs.shards import InputShard, list_input_shards
from pipelines.output.job import Context, Job, run_job
from pipelines.output.totals import Totals
from pipelines.recipes.select import SelectRecipe
from pipelines.select.selection import Selection, build_selection, describe_change
from schemas.errors import UsageError
from schemas.log import LOG
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder, split_path
from schemas.storage.parquet import check_sizes, open_parquet
from schemas.storage.path_patterns import list_matching


class SelectJob(Job[InputShard]):
    """Selects rows from files of metadata."""

    title = "select"
    items = "rows"
    has_report = False

    def __init__(self, recipe: SelectRecipe) -> None:
        self.recipe: SelectRecipe = recipe
        self._selection: Selection
        self._threads: int | None = None

    def plan(self, context: Context) -> list[InputShard]:
        """See `Job`."""
        inputs = list_input_shards(self.recipe.input, ".parquet")
        check_columns(inputs, self.recipe.rules.list_columns())
        check_subset_path(context.output, self.recipe, inputs)
        self._selection = build_selection(self.recipe, inputs, context)
        return inputs

    def describe_change(self, unit: InputShard | None, manifest: Manifest) -> str:
        """See `Job`."""
        return describe_change(unit, self._selection, manifest)

    def get_progress_size(self, unit: InputShard) -> int:
        """See `Job`."""
        return unit.get_size()

    def prepare(self, context: Context, todo: list[InputShard]) -> list[InputShard]:
        """See `Job`."""
        self._threads = None if context.runner.is_in_process(len(todo)) else 1
        return todo

    def make_task(self, context: Context) -> Callable[[InputShard], Manifest]:
        """See `Job`."""
        return functools.partial(select_file, self._selection, context.output, self._threads)

    def count(self, manifests: Iterable[Manifest]) -> int:
        """See `Job`. Counts the rows that were judged."""
        return sum(manifest.rows_in for manifest in manifests)

    def finish(self, context: Context) -> None:
        """See `Job`."""
        if self.recipe.run.subset is not None:
            write_uids(context.output, self.recipe.run.subset)


def select(recipe: SelectRecipe, output: str) -> Totals:
    """Writes the chosen rows of every file that is not committed yet, then the subset file, if one is requested."""
    result = run_job(SelectJob(recipe), output)
    if not result.rows_out:
        LOG.warning("nothing was chosen")
    return result


def write_uids(output: Folder, path: str) -> None:
    """Writes the subset file of all committed rows, and reports the number of uids."""
    from pipelines.select.subset import write_subset

    written, repeats = write_subset(output, path)
    more = f"; {repeats:,} rows have the uid of a row in another file" if repeats else ""
    LOG.info(f"{path}: {written:,} uids{more}")


def select_file(selection: Selection, output: Folder, threads: int | None, shard: InputShard) -> Manifest:
    """Selects the rows of one file. polars uses `threads` threads; None: its own default."""
    if threads is not None:  # must precede the import of polars, so this module does not import it
        os.environ.setdefault("POLARS_MAX_THREADS", str(threads))
    from pipelines.select.file import select_rows

    return select_rows(selection, output, shard)


def check_columns(inputs: Sequence[InputShard], needed: dict[str, ColumnKind]) -> None:
    """Raises `UsageError` for a file that is not a Parquet file, lacks a column of a rule, or has a column twice."""
    folder, _ = inputs[0].split_path()
    schemas = folder.map_files(read_schema, [shard.path for shard in inputs])
    for shard, schema in zip(inputs, schemas, strict=True):
        if twice := [name for name, times in Counter(schema.names).items() if times > 1]:
            raise UsageError(f"{shard.path} has more than one column {twice[0]}: rename them")
        for name, kind in needed.items():
            if name not in schema.names:
                raise UsageError(f"{shard.path} has no column {name}, but {', '.join(schema.names) or 'none'}")
            found = schema.field(name).type
            if not is_of_kind(found, kind):
                raise UsageError(f"{shard.path}: column {name} holds {found}, not {kind}s")


def read_schema(path: str) -> pa.Schema:
    """Returns the schema of a file. Raises `UsageError` if it is not Parquet, or expands over the budget."""
    folder, name = split_path(path)
    with folder.open(name) as file:
        parquet = open_parquet(file, path)
        check_sizes(parquet)
        return parquet.schema


def check_subset_path(output: Folder, recipe: SelectRecipe, inputs: Sequence[InputShard]) -> None:
    """Raises `UsageError` for a subset file in the output set, where no manifest lists it, or in place of an input."""
    subset = recipe.run.subset
    if subset is None:
        return
    place = make_absolute(subset)
    if f"{place}/".startswith(f"{make_absolute(output.url)}/"):
        raise UsageError(f"--subset {subset} is inside the output set {output.url}: write it beside the folder")
    read = [shard.path for shard in inputs] + [
        path for glob in recipe.uids + recipe.exclude for path in list_matching(glob)
    ]
    if place in map(make_absolute, read):
        raise UsageError(f"--subset {subset} is a file of the input, which it would replace: give it another name")


def make_absolute(path: str) -> str:
    """Returns a local path as an absolute path with links resolved; a URL unchanged."""
    return path if "://" in path else os.path.realpath(path)
