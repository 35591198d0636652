"""Implements `shardloom shard`."""

from typing import Annotated

import typer

from curation.captions.families import FAMILIES
from pipelines.cli.flags import (
    Address,
    AllowDamaged,
    AllowDownload,
    Json,
    Output,
    RecipeFile,
    Tokenizer,
    TrustCode,
    Workers,
    build_run_options,
    report,
    resolve_output,
)
from pipelines.recipes.base import load_recipe
from pipelines.recipes.shard import ShardRecipe


def shard(
    images: Annotated[
        list[str] | None, typer.Option("--images", "-i", help="glob of image shards; may be repeated")
    ] = None,
    captions: Annotated[str | None, typer.Option("--captions", "-c", help="the caption set's folder")] = None,
    output: Output = None,
    recipe: RecipeFile = None,
    format: Annotated[str | None, typer.Option(help="webdataset or parquet")] = None,
    samples_per_shard: Annotated[int | None, typer.Option(help="samples in each shard but the last")] = None,
    granularity: Annotated[int | None, typer.Option(help="granularity of the caption that becomes the .txt")] = None,
    raw_caption: Annotated[
        bool | None,
        typer.Option(
            "--raw-caption/--no-raw-caption",
            help="begin that caption with the alt text or not; default: begin with it if it contains the places",
        ),
    ] = None,
    tokenizer: Tokenizer = None,
    trust_code: TrustCode = None,
    allow_download: AllowDownload = None,
    workers: Workers = None,
    address: Address = None,
    allow_damaged: AllowDamaged = None,
    json_: Json = False,
) -> None:
    """Join image shards and captions into training shards, each with an index for planning."""
    from pipelines.shard.run import shard as run

    FAMILIES.trust(*trust_code or [])
    loaded = load_recipe(
        ShardRecipe,
        recipe,
        images=images or None,
        captions=captions,
        format=format,
        samples_per_shard=samples_per_shard,
        granularity=granularity,
        raw_caption=raw_caption,
        tokenizer=tokenizer,
        run=build_run_options(output, workers, address, allow_damaged) | {"allow_download": allow_download},
    )
    report(run(loaded, resolve_output(loaded)), resolve_output(loaded), json_)
