"""Chooses rows of DataComp's metadata: one file of those that stay for each file of the input, by rules alone."""

import functools
import os
import sys
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from curation.selection.rules import Kind, holds
from pipelines.cluster.map_units import map_units, runs_alone
from pipelines.inputs.shards import InputShard, input_shards
from pipelines.output.claim import holds_recipe
from pipelines.output.output_set import begun, commit
from pipelines.output.totals import RunClock, Totals, totals
from pipelines.recipes.select import SelectRecipe
from pipelines.select.selection import Selection, check_unchanged, selection_of
from pipelines.terminal.progress import Progress
from schemas.errors import UsageError, one_line
from schemas.output_set.layout import PARTS, UNFINISHED, committed
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder, matching, split


def select(recipe: SelectRecipe, output: str, quiet: bool = False) -> Totals:
    """Writes the chosen rows of every file that is not committed yet, and then the subset file, if one is asked for."""
    folder = Folder(output)
    holds_recipe(folder, recipe)  # before the scores, which may take minutes
    inputs = input_shards(recipe.input, ".parquet")
    check_columns(inputs, recipe.rules.columns())
    check_place(folder, recipe, inputs)
    selection = selection_of(recipe, inputs, committed(folder), quiet)
    with begun(folder, recipe):
        done = committed(folder)
        check_unchanged(folder, inputs, selection, done)
        todo = [shard for shard in inputs if shard.name not in done]
        clock = RunClock()
        if todo:
            folder.write(UNFINISHED, b"")
        threads = None if runs_alone(recipe.run, len(todo)) else 1
        work = functools.partial(select_file, selection, folder, threads)
        with Progress("select", sum(shard.size() for shard in todo), "rows", quiet) as progress:
            sizes = {shard.name: shard.size() for shard in todo}
            for manifest in map_units(work, todo, recipe.run):
                commit(folder, manifest)
                progress.items += manifest.rows_in
                progress.advance(sizes[manifest.name])
        folder.clear(PARTS)
        if todo:
            clock.stop(folder)
        if recipe.run.subset is not None:
            write_uids(folder, recipe.run.subset, quiet)
        result = totals(folder)
    if not result.rows_out and not quiet:
        print("nothing was chosen", file=sys.stderr)
    return result


def write_uids(output: Folder, path: str, quiet: bool) -> None:
    """Writes the subset file."""
    from pipelines.select.subset import write_subset

    written, repeats = write_subset(output, path)
    if not quiet:
        more = f"; {repeats:,} rows have the uid of a row in another file" if repeats else ""
        print(f"{path}: {written:,} uids{more}", file=sys.stderr)


def select_file(selection: Selection, output: Folder, threads: int | None, shard: InputShard) -> Manifest:
    """Chooses the rows of one file; in a process beside others it has so many threads."""
    if threads is not None:  # before polars is imported, which is why nothing here does that
        os.environ.setdefault("POLARS_MAX_THREADS", str(threads))
    from pipelines.select.file import select_rows

    return select_rows(selection, output, shard)


def check_columns(inputs: Sequence[InputShard], needed: dict[str, Kind]) -> None:
    """Raises `UsageError` for a file that is no Parquet, lacks a column that a rule looks at, or has one twice."""
    folder, _ = inputs[0].folder()
    schemas = folder.at_once(schema_of, [shard.path for shard in inputs])
    for shard, schema in zip(inputs, schemas, strict=True):
        if twice := [name for name, times in Counter(schema.names).items() if times > 1]:
            raise UsageError(f"{shard.path} has more than one column {twice[0]}: rename them")
        for name, kind in needed.items():
            if name not in schema.names:
                raise UsageError(f"{shard.path} has no column {name}, but {', '.join(schema.names) or 'none'}")
            found = schema.field(name).type
            if not holds(found, kind):
                raise UsageError(f"{shard.path}: column {name} holds {found}, not {kind}s")


def schema_of(path: str) -> pa.Schema:
    """The columns of a Parquet file. Raises `UsageError` for another file."""
    folder, name = split(path)
    with folder.open(name) as file:
        try:
            return pq.read_schema(file)
        except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter: a column's name
            raise UsageError(f"{path} is no Parquet file: {one_line(error)}") from None


def check_place(output: Folder, recipe: SelectRecipe, inputs: Sequence[InputShard]) -> None:
    """Refuses a subset file among the output's, of which no manifest would tell, or in the place of an input."""
    subset = recipe.run.subset
    if subset is None:
        return
    place = whole(subset)
    if f"{place}/".startswith(f"{whole(output.url)}/"):
        raise UsageError(f"--subset {subset} lies in the output set {output.url}: put it beside the folder")
    read = [shard.path for shard in inputs] + [path for glob in recipe.uids + recipe.exclude for path in matching(glob)]
    if place in map(whole, read):
        raise UsageError(f"--subset {subset} is a file of the input, which it would replace: give it another name")


def whole(path: str) -> str:
    """A local path from the root; a URL as it is."""
    return path if "://" in path else os.path.realpath(path)
