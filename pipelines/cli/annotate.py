"""Implements `shardloom annotate`."""

import contextlib
import sys
from typing import Annotated, Any

import typer

from pipelines.cli.flags import (
    Address,
    AllowDamaged,
    Json,
    Output,
    RecipeFile,
    TrustCode,
    Workers,
    output_of,
    report,
    run_flags,
)
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.recipes.base import load_recipe
from schemas.errors import UsageError
from schemas.output_set.recipe_file import RECIPE_FILE, read_recipe
from schemas.storage.folder import Folder


def annotate(
    what: Annotated[
        str | None,
        typer.Argument(help="engines (ocr, tags, tags:siglip, boxes), a recipe file, or the set to --add engines to"),
    ] = None,
    input: Annotated[
        list[str] | None, typer.Option("--input", "-i", help="glob of image shards; may be repeated")
    ] = None,
    output: Output = None,
    recipe: RecipeFile = None,
    add: Annotated[str | None, typer.Option(help="engines to add to a set; its annotations are reused")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="ENGINE=FOLDER", help="weights of an engine, such as boxes=FOLDER; may be repeated"),
    ] = None,
    vocabulary: Annotated[str | None, typer.Option(metavar="FILE", help="file of the tags, one per line")] = None,
    allow_download: Annotated[
        bool | None, typer.Option("--allow-download", help="allow weights by their name on the Hugging Face hub")
    ] = None,
    allow_out_of_vocabulary: Annotated[
        bool | None,
        typer.Option("--allow-out-of-vocabulary", help="allow the demonstration weights for tags that they don't know"),
    ] = None,
    chunk: Annotated[int | None, typer.Option(help="samples per unit of work")] = None,
    trust_code: TrustCode = None,
    workers: Workers = None,
    address: Address = None,
    allow_damaged: AllowDamaged = None,
    json_: Json = False,
) -> None:
    """Annotate image shards: text, tags and boxes in one pass, committed shard by shard.

    The same command resumes a killed run.
    """
    from curation.engines.registry import ENGINES
    from pipelines.annotate.reuse import reused_kinds, set_recipe
    from pipelines.annotate.run import annotate as run
    from pipelines.engines.flags import engines_of, held_engines
    from pipelines.engines.named_by_set import refuse_unnamed

    ENGINES.trust(*trust_code or ())
    if what is not None and add is None and what.endswith((".yaml", ".yml")):
        if recipe is not None:
            raise UsageError(f"{what} and --recipe {recipe}: pass one recipe")
        recipe, what = what, None
    values: dict[str, Any] = {}
    reuse = None
    if add is not None:
        if recipe is not None:
            raise UsageError("--add uses the set's own recipe: leave out --recipe")
        if what is None:
            raise UsageError("--add: name the annotation set, as in: shardloom annotate SET --add boxes --output NEW")
        values, reuse, what = set_recipe(Folder(what)), what, add
    elif recipe is not None:
        values = read_recipe(recipe)
    held = held_engines(values, what if add is None else None)
    given = engines_of(what, weights, vocabulary, allow_download, allow_out_of_vocabulary, held)
    loaded = load_recipe(
        AnnotateRecipe,
        recipe,
        values,
        input=input or None,
        engines=given,
        chunk={"samples": chunk},
        run=run_flags(output, workers, address, allow_damaged) | {"reuse": reuse},
    )
    if reuse is not None:
        kinds = reused_kinds(load_recipe(AnnotateRecipe, None, set_recipe(Folder(reuse))).engines, loaded.engines)
        refuse_unnamed(Folder(reuse).path(RECIPE_FILE), loaded.engines, kinds, given)
    with contextlib.redirect_stdout(sys.stderr):  # Ray prints about lost workers to stdout
        totals = run(loaded, output_of(loaded), quiet=json_)
    report(totals, output_of(loaded), json_)
