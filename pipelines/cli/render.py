"""Implements `shardloom render`."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
import yaml

from curation.captions.families import FAMILIES, SHIPPED
from curation.captions.fields import TEXT_FIELDS
from curation.captions.presets import list_presets
from pipelines.cli.flags import (
    Address,
    Json,
    Limit,
    Output,
    RecipeFile,
    Sample,
    Seed,
    TrustCode,
    Where,
    Workers,
    build_run_options,
    report,
    resolve_output,
)
from pipelines.recipes.base import load_recipe
from pipelines.recipes.render import RenderRecipe
from pipelines.terminal.tables import print_captions
from schemas.activity import report_activity
from schemas.errors import UsageError
from schemas.output_set.recipe_file import format_value
from schemas.output_set.recipe_layers import read_merged_recipe
from schemas.strict_yaml import load_yaml
from schemas.terminal import print_json

TEMPLATE_HELP = "; ".join(
    [
        "ocr, grounding: a YAML file of your own wording (docs/data.md), or the name of one that ships",
        *(f"for {family} {', '.join(list_presets(family))}" for family in TEXT_FIELDS),
        "default: figure",
    ]
)


def render(
    family: Annotated[
        str,
        typer.Argument(help=f"the caption family: {', '.join(SHIPPED)}, or one from a plug-in or --trust-code"),
    ],
    annotations: Annotated[str | None, typer.Argument(help="the annotation set's folder")] = None,
    output: Output = None,
    recipe: RecipeFile = None,
    granularity: Annotated[
        list[int] | None,
        typer.Option(help="0 to 5 for ocr, 0 to 2 for grounding; may be repeated; default: all of the template"),
    ] = None,
    raw_caption: Annotated[
        str | None, typer.Option(help="captions with or without the alt text: with, without or both")
    ] = None,
    template: Annotated[str | None, typer.Option(metavar="FILE", help=TEMPLATE_HELP)] = None,
    min_confidence: Annotated[
        float | None, typer.Option(help="ocr: leave out lines below this confidence, 0 to 1")
    ] = None,
    min_lines: Annotated[int | None, typer.Option(help="ocr: leave out images with fewer lines of text")] = None,
    caption_from: Annotated[
        str | None,
        typer.Option(
            help="grounding: Parquet files with captions by uid, URL or hash, each read once; default: the alt texts"
        ),
    ] = None,
    caption_column: Annotated[
        str | None, typer.Option(help="grounding: the column of --caption-from; default: caption, else cogvlm_caption")
    ] = None,
    caption_name: Annotated[
        str | None,
        typer.Option(
            help="knowledge, conversations, grounding: a caption that a model wrote in the same pass, by its name "
            "in the set's recipe; default: knowledge, but for grounding the alt texts"
        ),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="FILE", help="conversations: what is asked, as a prompt of annotate")
    ] = None,
    leak_phrases: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="drop sentences of models' captions that have a phrase of this file"),
    ] = None,
    leak_prompt: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="drop sentences that repeat six words of this prompt; may be repeated"),
    ] = None,
    drop_contradicted: Annotated[
        bool,
        typer.Option("--drop-contradicted", help="drop sentences of models' captions that the annotations contradict"),
    ] = False,
    min_score: Annotated[float | None, typer.Option(help="grounding: leave out boxes below this score, 0 to 1")] = None,
    min_boxes: Annotated[int | None, typer.Option(help="grounding: leave out images with fewer boxes")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="any option of the family; may be repeated")
    ] = None,
    limit: Limit = None,
    sample: Sample = None,
    seed: Seed = None,
    where: Where = None,
    trust_code: TrustCode = None,
    preview: Annotated[str | None, typer.Option(metavar="KEY", help="print the captions of one key or uid")] = None,
    workers: Workers = None,
    address: Address = None,
    json_: Json = False,
) -> None:
    """Render captions from annotations. It runs no engine, reads no image and does not change the annotations."""
    from pipelines.render.run import preview_record, render_set

    FAMILIES.trust(*trust_code or [])
    flags: dict[str, Any] = {
        "input": annotations,
        "granularities": granularity or None,
        "raw_caption": raw_caption,
        "template": template,
        "min_confidence": min_confidence,
        "min_lines": min_lines,
        "caption_from": caption_from,
        "caption_column": caption_column,
        "caption_name": caption_name,
        "prompt": prompt,
        "leak_phrases": leak_phrases,
        "leak_prompts": leak_prompt or None,
        "drop_contradicted": drop_contradicted or None,
        "min_score": min_score,
        "min_boxes": min_boxes,
        "limit": limit,
        "sample": sample,
        "seed": seed,
        "where": where,
        "run": build_run_options(output, workers, address, None),
    }
    loaded = load_recipe(RenderRecipe, recipe, _collect_values(recipe, option, FAMILIES.find(family).name), **flags)
    if preview is None:
        report(render_set(loaded, resolve_output(loaded)), resolve_output(loaded), json_)
        return
    with report_activity(f"render: looking for {preview} in {loaded.input}"):
        captions = preview_record(loaded, preview)
    if json_:
        print_json([asdict(caption) for caption in captions])
        return
    print_captions(captions)


def _collect_values(recipe: str | None, options: list[str] | None, family: str) -> dict[str, Any]:
    """Merges the recipe file with the options. Raises `UsageError` if the file is for another family."""
    values: dict[str, Any] = {}
    if recipe is not None:  # a file without a family may have its options
        values = read_merged_recipe(
            recipe, lambda layer, path: RenderRecipe.anchor_paths({"family": family} | layer, path)
        )
    values |= parse_options(options)
    if values.setdefault("family", family) != family:
        raise UsageError(
            f"recipe {recipe}: family: it is {format_value(values['family'])}, but the command asks for {family!r}"
        )
    return values


def parse_options(given: list[str] | None) -> dict[str, Any]:
    """Parses options given as KEY=VALUE, with YAML values. Raises `UsageError`."""
    options: dict[str, Any] = {}
    for each in given or []:
        key, equals, value = each.partition("=")
        if not key or not equals:
            raise UsageError(f"--option: {each!r} is not KEY=VALUE")
        try:
            options[key] = load_yaml(value)
        except (yaml.YAMLError, ValueError):
            raise UsageError(f"--option {key}: {value!r} is not a YAML value") from None
    return options
