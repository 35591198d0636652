"""Shows an annotation set: pictures with lines and boxes, tags, models' captions, and what `render` makes of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.recipes.render import RenderRecipe
from pipelines.render.rendering import Rendering
from pipelines.render.run import render_row
from pipelines.view.caption_texts import link_captions
from pipelines.view.charts import draw_bars, draw_counts
from pipelines.view.columns import list_columns
from pipelines.view.columns.captions import mark_claims
from pipelines.view.columns.declaration import Shapes
from pipelines.view.image_shards import ImageShards
from pipelines.view.kinds.declaration import SetView
from pipelines.view.options import ViewOptions
from pipelines.view.origins import add_origins
from pipelines.view.page import (
    Block,
    Card,
    Chart,
    Page,
    Section,
    Shape,
    Text,
    TextGroup,
    list_layers,
    make_text,
    number_shapes,
)
from pipelines.view.parquet_files import list_data_files, list_tars, read_file
from pipelines.view.printed_items import find_template
from pipelines.view.quarantine import choose_quarantined, show_quarantine
from pipelines.view.rows import Choice, choose_rows
from pipelines.view.source import SetSource
from pipelines.view.thumbnails import Thumbnails
from pipelines.view.truth.overlay import GroundTruth, Overlay, get_row_filter
from schemas.errors import ShardloomError, UsageError
from schemas.layouts.blip3_grounding import ALT_TEXT


def build_page(source: SetSource, options: ViewOptions) -> Page:
    """Returns the page of an annotation set."""
    images = ImageShards(source.folder, options.images, lambda: options.is_late)
    truth = None if options.truth is None else GroundTruth.read(options.truth, options.index)
    page, outcomes = source.start_page(), Counter[str]()
    choice = _choose_rows(source, options, truth)
    quarantined = [] if options.key is not None else choose_quarantined(source)
    thumbnails = Thumbnails(options.max_bytes, choice.shown + len(quarantined), lambda: options.is_late)
    renderings = list_renderings(source.folder.url, source.recipe)
    cards = []
    for part in choice.parts:
        keys = set(part.rows["key"].to_pylist())
        found = images.read(list_tars(source.manifests[part.name]), part.name, keys)
        for number, row in enumerate(part.rows.to_pylist()):
            shapes = draw_shapes(row)
            overlay = Overlay(shapes) if truth is None else truth.compare(row, shapes)
            outcomes += overlay.outcomes
            picture = thumbnails.make(found.get(row["key"]), row["key"], row["sha256"], merge_shapes(overlay.shapes))
            captions = _render_captions(part.rows.slice(number, 1), row, shapes, renderings)
            blocks = (picture, *overlay.blocks, *_describe_row(row, shapes), *captions)
            blocks = add_origins(blocks, source, part.name, row["key"])
            cards.append(Card(f"{part.name}/{row['key']}", blocks, _list_facts(row)))
    page.charts += draw_bars("Shown, against the ground truth", outcomes)
    if choice.seen:
        page.charts += _draw_charts(choice.merge_seen())
    page.sections.append(Section("Annotations", tuple(cards), choice.describe()))
    page.sections += show_quarantine(source, quarantined, images, thumbnails)
    page.notes += images.notes
    page.layers = list_layers(cards)
    return page


def _choose_rows(source: SetSource, options: ViewOptions, truth: GroundTruth | None) -> Choice:
    """Returns the rows to show; with a truth, of the images in it. Raises `UsageError` if it has none of them."""
    names, keep, url = list_data_files(source), get_row_filter(truth), source.folder.url
    choice = choose_rows(names, lambda name: keep(read_file(source, name)), options, url, is_filtered=truth is not None)
    if truth is not None and not choice.shown:
        raise UsageError(f"{truth.path}: none of its images is known in {url}: does the truth belong to it?")
    return choice


def draw_shapes(row: Mapping[str, Any]) -> dict[str, tuple[Shape, ...]]:
    """Returns the shapes of a row by column, numbered through all columns."""
    shapes: dict[str, tuple[Shape, ...]] = {}
    first = 0
    for view in list_columns():
        if row.get(view.column):
            shapes[view.column] = number_shapes(view.draw(row[view.column]), first)
            first += len(shapes[view.column])
        else:
            shapes[view.column] = ()
    return shapes


def merge_shapes(shapes: Shapes) -> tuple[Shape, ...]:
    """Returns the shapes of all columns."""
    return tuple(shape for found in shapes.values() for shape in found)


def _describe_row(row: Mapping[str, Any], shapes: Shapes) -> list[Block]:
    """Returns what the set holds about an image: its alt text with its claims, every column, and what failed."""
    blocks: list[Block] = []
    if row["caption"]:
        blocks.append(Text("Alt text", mark_claims(row["caption"], row, shapes, with_alt_text=False)))
    for view in list_columns():
        if view.column in row:
            blocks += view.describe(row, shapes)
    return blocks + [
        make_text(f"{one['engine']} failed", one["detail"], one["reason"]) for one in row.get("failures") or ()
    ]


def _list_facts(row: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    facts = [("size", f"{row['width']} x {row['height']}"), ("uid", row.get("uid")), ("url", row.get("url"))]
    return tuple((name, value) for name, value in facts if value)


def list_renderings(url: str, recipe: Mapping[str, Any]) -> list[Rendering]:
    """Returns what renders captions from the engines that the set has, with the options of each family as they ship."""
    families = [view.family for view in list_columns() if view.family and view.column in (recipe.get("engines") or ())]
    return [Rendering.resolve(RenderRecipe(family=family, input=url)) for family in families]


def _render_captions(
    table: pa.Table, row: Mapping[str, Any], shapes: Shapes, renderings: Sequence[Rendering]
) -> list[TextGroup]:
    """Returns the captions of a row by family, with the words of each line and box tied to its shape."""
    groups = []
    for rendering in renderings:
        column, name = rendering.family.column, rendering.family.name
        if not row.get(column):
            continue
        try:
            captions = render_row(table, rendering, rendering.build_schema("", ALT_TEXT), None)
        except ShardloomError:  # an engine failed on this row, as its card says
            continue
        items = list(zip(row[column], shapes[column], strict=True))
        texts = link_captions(captions, find_template(name, None), items, (row["width"], row["height"]))
        groups.append(TextGroup(f"Captions as `render {name}` makes them", texts))
    return groups


def _draw_charts(rows: pa.Table) -> list[Chart]:
    charts: list[Chart] = []
    for view in list_columns():
        if view.column in rows.schema.names and rows[view.column].null_count < rows.num_rows:
            charts += view.chart(rows)
    sizes = [max(size) for size in zip(rows["width"].to_pylist(), rows["height"].to_pylist(), strict=True)]
    return charts + draw_counts("Longer side in pixels", sizes)


VIEW = SetView((AnnotateRecipe.kind,), build_page)
