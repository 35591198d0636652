"""Implements `shardloom select`."""

from typing import Annotated

import typer

from pipelines.cli.flags import (
    Address,
    Json,
    Output,
    RecipeFile,
    Workers,
    build_run_options,
    report,
    require_lasting_path,
    resolve_output,
)
from pipelines.recipes.base import load_recipe
from pipelines.recipes.select import SelectRecipe
from schemas.errors import UsageError


def select(
    metadata: Annotated[
        list[str] | None, typer.Argument(help="globs of DataComp metadata (Parquet); or a recipe file")
    ] = None,
    output: Output = None,
    recipe: RecipeFile = None,
    min_clip_b32: Annotated[float | None, typer.Option(help="least CLIP B/32 similarity of image and caption")] = None,
    min_clip_l14: Annotated[float | None, typer.Option(help="least CLIP L/14 similarity of image and caption")] = None,
    top_fraction: Annotated[
        float | None,
        typer.Option(help="keep this fraction of all rows, those with the highest similarity; DataComp: 0.3"),
    ] = None,
    top_by: Annotated[
        str | None, typer.Option(help="similarity for --top-fraction: clip_l14 or clip_b32; default: clip_l14")
    ] = None,
    min_width: Annotated[int | None, typer.Option(help="pixels")] = None,
    max_width: Annotated[int | None, typer.Option(help="pixels")] = None,
    min_height: Annotated[int | None, typer.Option(help="pixels")] = None,
    max_height: Annotated[int | None, typer.Option(help="pixels")] = None,
    min_side: Annotated[int | None, typer.Option(help="pixels of the shorter side; DataComp: 200")] = None,
    max_aspect: Annotated[float | None, typer.Option(help="longer side divided by the shorter; DataComp: 3")] = None,
    min_characters: Annotated[int | None, typer.Option(help="characters of the caption; DataComp: 6")] = None,
    max_characters: Annotated[int | None, typer.Option(help="characters of the caption")] = None,
    min_words: Annotated[int | None, typer.Option(help="words of the caption; DataComp: 3")] = None,
    max_words: Annotated[int | None, typer.Option(help="words of the caption")] = None,
    language: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="language of the caption, ISO 639; may be repeated; DataComp: en"),
    ] = None,
    uids: Annotated[
        list[str] | None, typer.Option(metavar="FILE.npy", help="subset file: keep only its uids; may be repeated")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="FILE.npy", help="subset file: drop its uids; may be repeated")
    ] = None,
    subset: Annotated[str | None, typer.Option(metavar="FILE.npy", help="also write the uids as a subset file")] = None,
    workers: Workers = None,
    address: Address = None,
    json_: Json = False,
) -> None:
    """Select rows of DataComp metadata for download. Each rejected row is counted under the first rule that rejects it.

    All rules are optional. The same command resumes a killed run, and repeats no committed file.
    """
    from pipelines.select.run import select as run

    if metadata is not None and len(metadata) == 1 and metadata[0].endswith((".yaml", ".yml")):
        if recipe is not None:
            raise UsageError(f"{metadata[0]} and --recipe {recipe}: pass one recipe")
        recipe, metadata = metadata[0], None
    loaded = load_recipe(
        SelectRecipe,
        recipe,
        None,
        input=metadata or None,
        rules={
            "min_clip_b32": min_clip_b32,
            "min_clip_l14": min_clip_l14,
            "top_fraction": top_fraction,
            "top_by": top_by,
            "min_width": min_width,
            "max_width": max_width,
            "min_height": min_height,
            "max_height": max_height,
            "min_side": min_side,
            "max_aspect": max_aspect,
            "min_characters": min_characters,
            "max_characters": max_characters,
            "min_words": min_words,
            "max_words": max_words,
            "languages": language or None,
        },
        uids=uids or None,
        exclude=exclude or None,
        run=build_run_options(output, workers, address, None) | {"subset": subset},
    )
    if loaded.run.subset is not None:
        require_lasting_path("subset", loaded.run.subset)
    report(run(loaded, resolve_output(loaded)), resolve_output(loaded), json_, rejected_label="left out")
