"""Implements `shardloom ingest`."""

from typing import Annotated

import typer

from curation.sources import SOURCES
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
    Workers,
    build_run_options,
    report,
    resolve_output,
)
from pipelines.recipes.base import load_recipe
from pipelines.recipes.ingest import IngestRecipe
from schemas.errors import UsageError


def ingest(
    source: Annotated[
        str | None,
        typer.Argument(help=f"{', '.join(SOURCES.shipped)}, or your own source with --trust-code"),
    ] = None,
    input: Annotated[
        list[str] | None, typer.Option("--input", "-i", help="glob of the set's files; may be repeated")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            help="store of images given by URL: glob of img2dataset tars, map (.json) or folder; may be repeated"
        ),
    ] = None,
    download: Annotated[
        bool | None,
        typer.Option("--download", help="download images given by URL with img2dataset; its shards are kept"),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="host of a private network that may be contacted; may be repeated"),
    ] = None,
    output: Output = None,
    recipe: RecipeFile = None,
    format: Annotated[str | None, typer.Option(help="webdataset or parquet")] = None,
    name: Annotated[str | None, typer.Option(help="the set's name in the index; default: that of the source")] = None,
    tokenizer: Tokenizer = None,
    allow_download: AllowDownload = None,
    samples_per_shard: Annotated[int | None, typer.Option(help="most samples in a shard")] = None,
    bytes_per_shard: Annotated[int | None, typer.Option(help="most bytes in a shard")] = None,
    lost_image: Annotated[
        str | None, typer.Option(help="what to do if an image is lost: drop_image or drop_document")
    ] = None,
    repeated_images: Annotated[
        str | None,
        typer.Option(
            help="images that repeat an earlier one of the input: keep, or drop those that are exact or alike"
        ),
    ] = None,
    granularity: Annotated[
        int | None, typer.Option(help="blip3 sets: granularity of the caption that becomes the text")
    ] = None,
    raw_caption: Annotated[
        bool | None,
        typer.Option(
            "--raw-caption/--no-raw-caption",
            help="blip3 sets: take the caption that begins with the alt text, or the other; "
            "default: the other, unless it is a bare list of objects",
        ),
    ] = None,
    limit: Limit = None,
    sample: Sample = None,
    seed: Seed = None,
    trust_code: TrustCode = None,
    workers: Workers = None,
    address: Address = None,
    allow_damaged: AllowDamaged = None,
    json_: Json = False,
) -> None:
    """Convert a published set of documents, captions or texts into training shards. The same command resumes a run.

    A recipe has more filters (number and size of images, length of texts), under `filters`.
    """
    from pipelines.ingest.run import ingest as run

    SOURCES.trust(*trust_code or ())
    values = {} if recipe is None else IngestRecipe.read_file(recipe)
    if allow_host and not download and values.get("download") is None:
        raise UsageError("--allow-host needs --download")
    loaded = load_recipe(
        IngestRecipe,
        recipe,
        values,
        source=source,
        input=input or None,
        images=images or None,
        download={"by": "img2dataset" if download else None, "allow_hosts": allow_host or None},
        format=format,
        name=name,
        tokenizer=tokenizer,
        limit=limit,
        sample=sample,
        seed=seed,
        samples_per_shard=samples_per_shard,
        bytes_per_shard=bytes_per_shard,
        filters={"lost_image": lost_image},
        repeated_images=repeated_images,
        read={"granularity": granularity, "raw_caption": raw_caption},
        run=build_run_options(output, workers, address, allow_damaged) | {"allow_download": allow_download},
    )
    report(run(loaded, resolve_output(loaded)), resolve_output(loaded), json_)
