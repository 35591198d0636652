"""Shows a caption set: each picture with the lines or boxes of its captions, and the captions by granularity."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curation.captions.families import FAMILIES
from curation.captions.family import CaptionFamily
from curation.captions.inverse import read_template
from curation.captions.template_file import CaptionTemplate
from pipelines.recipes.render import RenderRecipe
from pipelines.view.caption_texts import link_captions
from pipelines.view.charts import draw_counts
from pipelines.view.entries import read_entries
from pipelines.view.image_shards import ImageShards
from pipelines.view.kinds.declaration import SetView
from pipelines.view.options import ViewOptions
from pipelines.view.origins import add_origins
from pipelines.view.page import Block, Card, Chart, Page, Section, Shape, Text, TextGroup, list_layers, make_text
from pipelines.view.parquet_files import list_data_files, list_tars, read_file
from pipelines.view.printed_items import find_template
from pipelines.view.quarantine import choose_quarantined, show_quarantine
from pipelines.view.rows import choose_rows
from pipelines.view.source import SetSource
from pipelines.view.thumbnails import Thumbnails
from schemas.errors import ShardloomError
from schemas.layouts.llava import HUMAN
from schemas.records.caption import Caption

_TEXTS = {"alt_text": "Alt text", "cogvlm_caption": "Base caption"}
_TURNS = "conversations"


def build_page(source: SetSource, options: ViewOptions) -> Page:
    """Returns the page of a caption set."""
    images = ImageShards(source.folder, options.images, lambda: options.is_late)
    family = FAMILIES.find(str(source.recipe.get("family")))
    page = source.start_page()
    page.facts.insert(0, ("family", family.name))
    choice = choose_rows(list_data_files(source), lambda name: read_file(source, name), options, source.folder.url)
    quarantined = [] if options.key is not None else choose_quarantined(source)
    thumbnails = Thumbnails(options.max_bytes, choice.shown + len(quarantined), lambda: options.is_late)
    cards = []
    for part in choice.parts:
        template = _read_template(part.rows, family)
        found = images.read(list_tars(source.manifests[part.name]), part.name, set(part.rows["key"].to_pylist()))
        for row in part.rows.to_pylist():
            shapes, texts = _describe_captions(row, family, template)
            picture = thumbnails.make(found.get(row["key"]), row["key"], row.get("sha256"), shapes)
            blocks = add_origins((picture, *_describe_columns(row), *texts), source, part.name, row["key"])
            facts = tuple((name, row[name]) for name in ("uid", "url") if row.get(name))
            cards.append(Card(f"{part.name}/{row['key']}", blocks, facts))
    if choice.seen and (table := choice.merge_seen()).num_rows:
        page.charts += _draw_charts(table, family)
    page.sections.append(Section("Captions", tuple(cards), choice.describe()))
    page.sections += show_quarantine(source, quarantined, images, thumbnails)
    page.notes += images.notes
    page.layers = list_layers(cards)
    return page


def _read_template(rows: pa.Table, family: CaptionFamily) -> CaptionTemplate | None:
    own = read_template(rows.schema.metadata or {}, family.name) if family.use_template else None
    return find_template(family.name, own)


def _describe_captions(
    row: Mapping[str, Any], family: CaptionFamily, template: CaptionTemplate | None
) -> tuple[tuple[Shape, ...], list[Block]]:
    """Returns the shapes of a row's captions, and these with their words tied to the shapes."""
    if family.caption_column == _TURNS:
        return (), list(describe_turns(row[_TURNS]))
    _, items = read_entries(row["metadata"]) if "metadata" in row else ("", [])
    captions = _parse_captions(family, row["key"], row[family.caption_column])
    texts = link_captions(captions, template, items, (row.get("width") or 1, row.get("height") or 1))
    return tuple(shape for _, shape in items), [TextGroup(f"Captions: {family.name}", texts)]


def _parse_captions(family: CaptionFamily, key: str, value: Any) -> list[Caption]:
    try:
        return family.parse(value)
    except ValueError as error:
        raise ShardloomError(f"{key}: its captions cannot be read: {error}: verify the set") from None


def describe_turns(turns: list[dict[str, str]]) -> list[Text]:
    """Returns the turns of a conversation in LLaVA's layout."""
    return [make_text(one["from"], one["value"], role="user" if one["from"] == HUMAN else "assistant") for one in turns]


def _describe_columns(row: Mapping[str, Any]) -> list[Block]:
    """Returns the texts that the layout has beside the captions."""
    return [make_text(title, row[name]) for name, title in _TEXTS.items() if row.get(name)]


def _draw_charts(rows: pa.Table, family: CaptionFamily) -> list[Chart]:
    """Returns the lengths of captions in characters."""
    column = zip(rows["key"].to_pylist(), rows[family.caption_column].to_pylist(), strict=True)
    lengths = [len(caption.text) for key, value in column for caption in _parse_captions(family, key, value)]
    return draw_counts("Characters of a caption", lengths)


VIEW = SetView((RenderRecipe.kind,), build_page)
