"""Implements `shardloom shard`."""

from typing import Annotated, Any

import typer

from curation.captions.families import FAMILIES
from pipelines.cli.flags import (
    Address,
    AllowDamaged,
    AllowDownload,
    Json,
    Limit,
    Output,
    RecipeFile,
    Sample,
    Seed,
    Tokenizer,
    TrustCode,
    Where,
    Workers,
    build_run_options,
    report,
    require_lasting_path,
    resolve_output,
)
from pipelines.recipes.base import RunOptions, load_recipe
from pipelines.recipes.shard import ShardRecipe
from schemas.errors import UsageError


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
    limit: Limit = None,
    sample: Sample = None,
    seed: Seed = None,
    where: Where = None,
    tokenizer: Tokenizer = None,
    by_reference: Annotated[
        bool | None,
        typer.Option("--by-reference", help="copy no image: write captions, and an index that refers to the images"),
    ] = None,
    materialise: Annotated[
        str | None,
        typer.Option(
            metavar="SET",
            help="copy the images of a set by reference: OUTPUT is the set that it would be without --by-reference; "
            "--images [OLD=]NEW names folders of images that were moved",
        ),
    ] = None,
    trust_code: TrustCode = None,
    allow_download: AllowDownload = None,
    workers: Workers = None,
    address: Address = None,
    allow_damaged: AllowDamaged = None,
    json_: Json = False,
) -> None:
    """Join image shards and captions into training shards, each with an index for planning."""
    if materialise is not None:
        others: dict[str, object] = {"--recipe": recipe, "--captions": captions, "--format": format}
        others |= {"--samples-per-shard": samples_per_shard, "--granularity": granularity, "--tokenizer": tokenizer}
        others |= {"--raw-caption": raw_caption, "--by-reference": by_reference}
        others |= {"--limit": limit, "--sample": sample, "--seed": seed, "--where": where}
        if given := [name for name, value in others.items() if value is not None]:
            raise UsageError(f"{given[0]} has no place beside --materialise: the set {materialise} decides it")
        _materialise(materialise, images or [], build_run_options(output, workers, address, allow_damaged), json_)
        return
    from pipelines.shard.run import shard as run

    FAMILIES.trust(*trust_code or [])
    loaded = load_recipe(
        ShardRecipe,
        recipe,
        images=images or None,
        captions=captions,
        format=format,
        limit=limit,
        sample=sample,
        seed=seed,
        where=where,
        samples_per_shard=samples_per_shard,
        granularity=granularity,
        raw_caption=raw_caption,
        tokenizer=tokenizer,
        by_reference=by_reference,
        run=build_run_options(output, workers, address, allow_damaged) | {"allow_download": allow_download},
    )
    if loaded.by_reference:
        for pattern in loaded.images:
            require_lasting_path("folder of the images", pattern)
    report(run(loaded, resolve_output(loaded)), resolve_output(loaded), json_)


def _materialise(url: str, images: list[str], options: dict[str, Any], json_: bool) -> None:
    from pipelines.output.job import run_job
    from pipelines.shard.materialise import MaterialiseJob

    run = RunOptions.model_validate({name: value for name, value in options.items() if value is not None})
    job = MaterialiseJob(url, run, images)
    output = resolve_output(job.recipe)
    report(run_job(job, output), output, json_)
