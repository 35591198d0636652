"""Shows sets of training shards, as `shard`, `ingest` and `mix` write them, with the images in them or by reference."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.mixture.reader import IndexRow, ShardFiles, to_index_rows
from curation.mixture.sources import SourceShard, open_set, read_index
from pipelines.mix.shares import summarise_mixture
from pipelines.recipes.ingest import IngestRecipe
from pipelines.recipes.mix import MixRecipe
from pipelines.recipes.shard import ShardRecipe
from pipelines.view.charts import draw_bars, draw_counts, draw_shares
from pipelines.view.image_shards import ImageShards
from pipelines.view.kinds.declaration import SetView
from pipelines.view.options import ViewOptions
from pipelines.view.origins import add_origins
from pipelines.view.page import Card, Chart, Page, Section, list_layers
from pipelines.view.quarantine import choose_quarantined, show_quarantine
from pipelines.view.rows import choose_rows
from pipelines.view.source import SetSource
from pipelines.view.thumbnails import Thumbnails
from pipelines.view.training_samples import build_card, count_pictures
from schemas.errors import UsageError
from schemas.output_set.image_folders import parse_places


def build_page(source: SetSource, options: ViewOptions) -> Page:
    """Returns the page of a set of training shards."""
    folder = source.folder
    page = source.start_page()
    if source.kind == MixRecipe.kind:
        page.charts += _draw_mixture(source)
    recorded = {one for manifest in source.manifests.values() for one in manifest.image_folders}
    places = parse_places(options.images, recorded) if recorded else {}
    shards = dict(zip(source.manifests, open_set(folder.url, places, source.manifests)[0], strict=True))
    names = [name for name, shard in shards.items() if shard.data.rows]
    choice = choose_rows(names, lambda name: read_located_index(shards[name]), options, folder.url)
    quarantined = [] if options.key is not None else choose_quarantined(source)
    rows = [(part.name, row) for part in choice.parts for row in to_index_rows(part.rows)]
    pictures = count_pictures([row for _, row in rows]) + len(quarantined)
    thumbnails = Thumbnails(options.max_bytes, pictures, lambda: options.is_late)
    cards = _read_cards(source, rows, thumbnails, options)
    if len(cards) < len(rows):
        page.notes.append(f"{len(cards):,} of {len(rows):,} samples are shown, because the time for the page was over")
    if choice.seen:
        page.charts += _draw_charts(choice.merge_seen())
    page.sections.append(Section("Samples", cards, choice.describe()))
    images = ImageShards(folder, () if recorded else options.images, lambda: options.is_late, places)
    page.sections += show_quarantine(source, quarantined, images, thumbnails)
    page.notes += images.notes
    page.layers = list_layers(cards)
    return page


def _read_cards(
    source: SetSource, rows: Sequence[tuple[str, IndexRow]], thumbnails: Thumbnails, options: ViewOptions
) -> tuple[Card, ...]:
    """Returns the cards of samples, each with the name of its shard; the first ones where time is over."""
    cards: list[Card] = []
    files = ShardFiles()
    try:
        for name, row in rows:
            if cards and options.is_late:
                break
            card = build_card(files, row, name, thumbnails)
            cards.append(replace(card, blocks=add_origins(card.blocks, source, name, row["key"])))
    finally:
        files.close()
    return tuple(cards)


def read_located_index(shard: SourceShard) -> pa.Table:
    """Returns the index of a shard with the place of each sample, by which it is read."""
    index = read_index(shard, locating=bool(shard.image_folders))
    numbers = pa.array(np.arange(index.num_rows))
    return index.append_column("path", pa.array([shard.path] * index.num_rows)).append_column("row", numbers)


def _draw_charts(index: pa.Table) -> list[Chart]:
    """Returns the kinds and sources of samples, their lengths, and the sizes of their images."""
    details = index["image_details"].combine_chunks().flatten()
    sides = pc.max_element_wise(*(pc.struct_field(details, name) for name in ("width", "height"))).to_pylist()
    measures = [("tokens", "Tokens of a sample"), ("characters", "Characters of a sample")]
    name, title = measures[0] if index["tokens"].null_count < index.num_rows else measures[1]
    charts = draw_bars("Samples, by kind", Counter(index["kind"].to_pylist()))
    charts += draw_bars("Samples, by source", Counter(index["source"].to_pylist()))
    charts += draw_counts(title, index[name].to_pylist())
    charts += draw_counts("Images of a sample", index["images"].to_pylist())
    return charts + draw_counts("Longer side in pixels", sides)


def _draw_mixture(source: SetSource) -> list[Chart]:
    """Returns the shares of a mixture as asked and as got."""
    try:
        found = summarise_mixture(source.recipe, source.totals.counts)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError(f"{source.folder.url}: its recipe is damaged: its mixture can't be read") from None
    unit = found["unit"]
    shares = [(one["source"], one["asked"], one["got"].get(unit, 0.0)) for one in found["sources"]]
    return [draw_shares(f"Shares of {unit}, as asked and as got", shares)]


VIEW = SetView((ShardRecipe.kind, IngestRecipe.kind, MixRecipe.kind), build_page)
