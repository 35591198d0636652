"""Implements `shardloom download`."""

from typing import Annotated

import typer

from pipelines.cli.flags import (
    Address,
    Json,
    Limit,
    Output,
    RecipeFile,
    Sample,
    Seed,
    Workers,
    build_run_options,
    report,
    resolve_output,
)
from pipelines.recipes.base import load_recipe
from pipelines.recipes.download import DownloadRecipe
from schemas.errors import UsageError


def download(
    metadata: Annotated[
        list[str] | None,
        typer.Argument(help="globs of Parquet files, from DataComp or `select`; or a recipe file"),
    ] = None,
    output: Output = None,
    recipe: RecipeFile = None,
    image_size: Annotated[
        int | None, typer.Option(help="pixels of the longer side; larger images are scaled down; default: 512")
    ] = None,
    blur_faces: Annotated[
        bool | None, typer.Option("--blur-faces/--no-blur-faces", help="blur the boxes of face_bboxes; default: blur")
    ] = None,
    verify_hash: Annotated[
        bool | None, typer.Option("--verify-hash", help="leave out images whose sha256 differs from the metadata's")
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="retry temporary failures, such as timeouts"),
    ] = False,
    retry_all: Annotated[bool, typer.Option("--retry-all", help="retry all failures that have a web address")] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="host of a private network that may be contacted; may be repeated"),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="concurrent connections of each worker; default: 64")] = None,
    timeout: Annotated[float | None, typer.Option(help="seconds without a byte from the host; default: 10")] = None,
    retries: Annotated[int | None, typer.Option(help="immediate retries of each URL; default: 2")] = None,
    deadline: Annotated[
        float | None,
        typer.Option(help="seconds after which a shard is closed without its missing images; default: 1800"),
    ] = None,
    min_success: Annotated[
        float | None, typer.Option(help="share of all images, 0 to 1; with fewer the run fails; default: 0")
    ] = None,
    urls_per_shard: Annotated[int | None, typer.Option(help="most URLs in a shard; default: 10000")] = None,
    limit: Limit = None,
    sample: Sample = None,
    seed: Seed = None,
    workers: Workers = None,
    address: Address = None,
    json_: Json = False,
) -> None:
    """Download the images of DataComp metadata into shards for annotate. The same command resumes a killed run.

    Private addresses are never contacted. Failures and their reasons are in quarantine/ and in each shard's .parquet.
    """
    from pipelines.download.run import download as run

    if metadata is not None and len(metadata) == 1 and metadata[0].endswith((".yaml", ".yml")):
        if recipe is not None:
            raise UsageError(f"{metadata[0]} and --recipe {recipe}: pass one recipe")
        recipe, metadata = metadata[0], None
    patience = {"allow_hosts": allow_host or None, "timeout": timeout, "retries": retries, "deadline_seconds": deadline}
    loaded = load_recipe(
        DownloadRecipe,
        recipe,
        None,
        input=metadata or None,
        image_size=image_size,
        urls_per_shard=urls_per_shard,
        blur_faces=blur_faces,
        verify_hash=verify_hash,
        limit=limit,
        sample=sample,
        seed=seed,
        run=build_run_options(output, workers, address, None)
        | patience
        | {"threads": threads, "min_success": min_success},
    )
    folder = resolve_output(loaded)
    report(run(loaded, folder, retry_failed, retry_all), folder, json_)
