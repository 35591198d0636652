"""Implements `shardloom mix`."""

from typing import Annotated

import typer

from pipelines.cli.flags import (
    Address,
    Json,
    Output,
    Workers,
    build_run_options,
    parse_named_folders,
    report,
    resolve_output,
)
from pipelines.recipes.base import load_recipe
from pipelines.recipes.mix import MixRecipe
from pipelines.terminal.tables import print_mixture
from schemas.activity import report_activity
from schemas.log import LOG
from schemas.terminal import print_json


def mix(
    recipe: Annotated[str, typer.Argument(help="a YAML recipe: sources, weights, and the unit that weights count")],
    output: Output = None,
    plan: Annotated[bool, typer.Option("--plan", help="print the resulting mixture and write nothing")] = False,
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FOLDER", help="folder of one of the recipe's sources, or a glob; may be repeated"),
    ] = None,
    format: Annotated[str | None, typer.Option(help="webdataset or parquet")] = None,
    samples_per_shard: Annotated[int | None, typer.Option(help="samples in each shard but the last")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of the order")] = None,
    materialise: Annotated[
        bool | None, typer.Option("--materialise", help="copy the images of sets by reference into the mixture")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="OLD=NEW",
            help="the present folder of image tars that a set by reference names; may be repeated",
        ),
    ] = None,
    workers: Workers = None,
    address: Address = None,
    json_: Json = False,
) -> None:
    """Mix sets of training shards, with exact shares at every prefix. The same command resumes a killed run."""
    from pipelines.mix.run import mix as run
    from pipelines.mix.run import preview_mixture

    loaded = load_recipe(
        MixRecipe,
        recipe,
        sources=parse_named_folders("--source", source),
        format=format,
        samples_per_shard=samples_per_shard,
        seed=seed,
        materialise=materialise,
        images={old: new for old, (new, *_) in parse_named_folders("--images", images).items()},
        run=build_run_options(output, workers, address, None),
    )
    if not plan:
        totals = run(loaded, resolve_output(loaded))
        report(totals, resolve_output(loaded), json_)
        if isinstance(loaded.stop, int) and totals.rows_out < loaded.stop:
            LOG.warning(
                f"only {totals.rows_out:,} of {loaded.stop:,} samples: sources ran out, --plan shows which; "
                "allow repeats, or lower stop"
            )
        return
    with report_activity("mix: planning the mixture"):
        found = preview_mixture(loaded)
    if json_:
        print_json(found)
        return
    print_mixture(found)
