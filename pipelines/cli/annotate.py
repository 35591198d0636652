"""Implements `shardloom annotate`."""

import contextlib
import sys
from typing import Annotated, Any

import typer

from pipelines.cli.flags import (
    Address,
    AllowDamaged,
    Json,
    Limit,
    Output,
    RecipeFile,
    Sample,
    Seed,
    TrustCode,
    Workers,
    build_run_options,
    report,
    resolve_output,
)
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.recipes.base import load_recipe
from schemas.errors import UsageError
from schemas.output_set.recipe_file import RECIPE_FILE, validate_options
from schemas.storage.folder import Folder
from schemas.terminal import print_json, print_result


def annotate(
    what: Annotated[
        str | None,
        typer.Argument(
            help="engines (ocr, tags, tags:siglip, boxes, captions), a recipe file, or the set to --add engines to"
        ),
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
    limit: Limit = None,
    sample: Sample = None,
    seed: Seed = None,
    claim: Annotated[
        bool | None,
        typer.Option(
            "--claim", help="share the set with other runs of this command, on any machines: each claims shards"
        ),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="annotate a sample for a minute, and say what the whole run takes"),
    ] = False,
    images: Annotated[
        int | None, typer.Option(help="for --plan: the images of the run; default: by the bytes of the input")
    ] = None,
    price_per_hour: Annotated[
        float | None, typer.Option(help="for --plan: the price of an hour of the machines")
    ] = None,
    workers: Workers = None,
    address: Address = None,
    allow_damaged: AllowDamaged = None,
    json_: Json = False,
) -> None:
    """Annotate image shards: text, tags, boxes and captions in one pass, committed shard by shard.

    The same command resumes a killed run, and adds new input shards to a set. With --claim, any number of processes run
    it at the same time, as in a Slurm array: srun shardloom annotate recipe.yaml --claim --output annotations. Each
    ends when all shards are committed.
    """
    from curation.engines.registry import ENGINES
    from pipelines.annotate.reuse import find_reused_stages, read_set_recipe
    from pipelines.annotate.run import annotate as run
    from pipelines.engines.flags import list_stored_stages, parse_engines, select_stored_engines
    from pipelines.engines.untrusted_settings import refuse_untrusted_settings

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
            raise UsageError("--add: name the annotation set, for example: shardloom annotate SET --add boxes -o NEW")
        values, reuse, what = read_set_recipe(Folder(what)), what, add
    elif recipe is not None:
        values = AnnotateRecipe.read_file(recipe)
    stored = select_stored_engines(values, what if add is None else None)
    given = parse_engines(what, weights, vocabulary, allow_download, allow_out_of_vocabulary, stored)
    loaded = load_recipe(
        AnnotateRecipe,
        recipe,
        values,
        input=input or None,
        engines=given,
        chunk={"samples": chunk},
        limit=limit,
        sample=sample,
        seed=seed,
        run=build_run_options(output, workers, address, allow_damaged) | {"reuse": reuse, "claim": claim},
    )
    if reuse is not None:
        reused = find_reused_stages(
            load_recipe(AnnotateRecipe, None, read_set_recipe(Folder(reuse))).engines, loaded.engines
        )
        refuse_untrusted_settings(
            Folder(reuse).resolve_path(RECIPE_FILE), loaded.engines.list_stages(), reused, list_stored_stages(given)
        )
    if plan:
        _plan(loaded, images, price_per_hour, json_)
        return
    if images is not None or price_per_hour is not None:
        raise UsageError("--images and --price-per-hour are for --plan")
    with contextlib.redirect_stdout(sys.stderr):  # Ray prints about lost workers to stdout
        totals = run(loaded, resolve_output(loaded))
    if not (json_ or loaded.run.claim or totals.is_unchanged):  # runs that claim shards work at the same time
        from pipelines.annotate.forecast.plan_file import reconcile  # now, since it imports Ray

        for line in reconcile(resolve_output(loaded)):
            print_result(line)
    report(totals, resolve_output(loaded), json_)


def _plan(recipe: AnnotateRecipe, images: int | None, price_per_hour: float | None, as_json: bool) -> None:
    """Prints what the run of a recipe takes."""
    from pipelines.annotate.forecast.options import ForecastOptions
    from pipelines.annotate.forecast.run import forecast
    from pipelines.terminal.forecast import print_forecast

    given = {"images": images, "price_per_hour": price_per_hour}
    options = validate_options(ForecastOptions, {k: v for k, v in given.items() if v is not None}, None, "--plan")
    output = resolve_output(recipe)
    with contextlib.redirect_stdout(sys.stderr):
        found = forecast(recipe, output, options)
    if as_json:
        print_json(found.to_dict())
        return
    print_forecast(found.to_dict())
