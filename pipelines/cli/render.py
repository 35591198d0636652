"""`shardloom render`."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from pipelines.cli.flags import Address, Json, Output, RecipeFile, Workers, output_of, report, run_flags
from pipelines.recipes.base import load_recipe
from pipelines.recipes.render import RenderGroundingRecipe, RenderRecipe
from pipelines.terminal.tables import print_captions
from schemas.errors import UsageError


def render(
    family: Annotated[str, typer.Argument(help="the family of captions: ocr or grounding")],
    annotations: Annotated[str | None, typer.Argument(help="the annotation set's folder")] = None,
    output: Output = None,
    recipe: RecipeFile = None,
    granularity: Annotated[
        list[int] | None, typer.Option(help="0 to 5, grounding 0 to 2; may be repeated; default: all")
    ] = None,
    raw_caption: Annotated[str | None, typer.Option(help="captions with the alt text: with, without or both")] = None,
    min_confidence: Annotated[float | None, typer.Option(help="ocr: leave out lines below it, 0 to 1")] = None,
    min_lines: Annotated[int | None, typer.Option(help="ocr: leave out images with fewer lines of text")] = None,
    caption_from: Annotated[
        str | None,
        typer.Option(
            help="grounding: Parquet files with the captions, by uid, all scanned for every annotation file; "
            "default: the alt texts"
        ),
    ] = None,
    caption_column: Annotated[
        str | None, typer.Option(help="grounding: their column; default: caption, else cogvlm_caption")
    ] = None,
    min_score: Annotated[float | None, typer.Option(help="grounding: leave out boxes below it, 0 to 1")] = None,
    min_boxes: Annotated[int | None, typer.Option(help="grounding: leave out images with fewer boxes")] = None,
    preview: Annotated[str | None, typer.Option(metavar="KEY", help="print the captions of one key or uid")] = None,
    workers: Workers = None,
    address: Address = None,
    json_: Json = False,
) -> None:
    """Render captions from annotations. Calls no engine, reads no image, leaves the annotations as they are."""
    from pipelines.render.run import preview_record, render_set

    flags: dict[str, Any] = {
        "input": annotations,
        "granularities": granularity or None,
        "raw_caption": raw_caption,
        "min_confidence": min_confidence,
        "min_lines": min_lines,
        "caption_from": caption_from,
        "caption_column": caption_column,
        "min_score": min_score,
        "min_boxes": min_boxes,
        "run": run_flags(output, workers, address, None),
    }
    loaded: RenderRecipe | RenderGroundingRecipe
    if family == "ocr":
        loaded = load_recipe(RenderRecipe, recipe, **flags)
    elif family == "grounding":
        loaded = load_recipe(RenderGroundingRecipe, recipe, **flags)
    else:
        raise UsageError(f"there is no family of captions {family!r}: use ocr or grounding")
    if preview is None:
        report(render_set(loaded, output_of(loaded), quiet=json_), output_of(loaded), json_)
        return
    captions = preview_record(loaded, preview)
    if json_:
        print(json.dumps([asdict(caption) for caption in captions]))
        return
    print_captions(captions)
