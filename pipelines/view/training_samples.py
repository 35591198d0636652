"""Shows samples of training shards: captioned images, documents in their order, and conversations turn by turn."""

from collections.abc import Mapping
from typing import Any

from curation.mixture.reader import CorruptSample, IndexRow, ShardFiles, build_record
from pipelines.view.caption_texts import link_captions
from pipelines.view.entries import read_entries
from pipelines.view.page import Block, Card, Text, TextGroup, make_text
from pipelines.view.printed_items import find_template
from pipelines.view.spans import cut_text
from pipelines.view.thumbnails import Thumbnails
from schemas.layouts.blip3_ocr import parse_captions
from schemas.records.captioned_image import CaptionedImage
from schemas.records.document import Document

MAX_PARTS = 200  # of a document that are shown

_FACTS = ("source", "kind", "tokens", "characters")


def build_card(files: ShardFiles, row: IndexRow, shard: str, thumbnails: Thumbnails) -> Card:
    """Returns the card of a sample, which is read from its shard. A sample that differs from its index says so."""
    facts = [(name, f"{row[name]:,}" if isinstance(row[name], int) else str(row[name])) for name in _FACTS if row[name]]
    key = f"{shard}/{row['key']}"
    try:
        (sample,) = files.read([row])
        record = build_record(row, sample.members, row["key"])
    except CorruptSample as error:
        return Card(key, (make_text("damaged", str(error)),), tuple(facts))
    if isinstance(record, Document):
        facts += [(name, value) for name, value in (("uid", record.uid), ("url", record.url)) if value]
        return Card(key, tuple(_describe_document(record, thumbnails)), tuple(facts), is_wide=True)
    facts += [(name, getattr(record, name)) for name in ("uid", "url", "source_shard", "source_key")]
    blocks = _describe_captioned_image(record, thumbnails)
    return Card(key, tuple(blocks), tuple((name, value) for name, value in facts if value))


def _describe_captioned_image(record: CaptionedImage, thumbnails: Thumbnails) -> list[Block]:
    """Returns the picture, the text to train on, and the other captions of an image."""
    family, items = read_entries(record.metadata)
    shapes = tuple(shape for _, shape in items)
    picture = thumbnails.make(record.image, record.key, shapes=shapes)
    try:
        captions = parse_captions(record.captions)
    except ValueError:
        return [picture, make_text("Text to train on", record.text), make_text("Captions", record.captions)]
    texts = link_captions(captions, find_template(family, None), items, (record.width, record.height))
    chosen = next((one.pieces for one, each in zip(texts, captions, strict=True) if each.text == record.text), None)
    blocks: list[Block] = [picture, Text("Text to train on", chosen or cut_text(record.text, ()))]
    if record.alt_text:
        blocks.append(make_text("Alt text", record.alt_text))
    if texts:
        blocks.append(TextGroup(f"Captions{': ' if family else ''}{family}", texts))
    return blocks


def _describe_document(record: Document, thumbnails: Thumbnails) -> list[Block]:
    """Returns the parts of a document in their order."""
    blocks: list[Block] = []
    for number, part in enumerate(record.parts[:MAX_PARTS]):
        role = "" if record.roles is None else record.roles[number]
        if isinstance(part, str):
            blocks.append(make_text(role, part, role=role))
        else:
            blocks.append(thumbnails.make(record.images[part].data, f"{record.key}, image {part}"))
    if len(record.parts) > MAX_PARTS:
        blocks.append(make_text("", f"and {len(record.parts) - MAX_PARTS:,} more parts"))
    return blocks


def count_pictures(rows: list[Mapping[str, Any]]) -> int:
    """Returns the number of pictures that these samples have, as their index says."""
    return sum(min(row["images"], MAX_PARTS) for row in rows)
