"""Copies samples into a mixture: their members byte for byte, and their index rows under new keys.

Samples of a set by reference stay so, unless the mixture is to be materialised: their images are not even read.

A Parquet set has one schema. So if any source contains documents, captioned images also become documents: the image,
then its caption.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from curation.mixture.image_tokens import MULTIMODAL_TOKENS, ImageTokenRule
from curation.mixture.reader import ShardSample, build_record, read_samples
from pipelines.output.training_shards import Sample, ShardWriter, to_parquet_row
from schemas.output_set.shard_index import BY_REFERENCE_SCHEMA, INDEX_SCHEMA
from schemas.records.captioned_image import CaptionedImage
from schemas.records.document import Document, DocumentImage

DETAILS = ("source_shard", "source_key", "alt_text", "captions", "metadata")  # go to a document's metadata


def read_mixed_samples(writer: ShardWriter, name: str, located: pa.Table) -> Iterator[Sample]:
    """Yields the samples of the shard `name`. `located` are rows for `read_samples`, each with the source as `name`."""
    for number, found in enumerate(read_samples(located, following=not writer.by_reference)):
        yield _make_sample(writer, found, f"{name}{number:06d}")


def _make_sample(writer: ShardWriter, found: ShardSample, key: str) -> Sample:
    schema = BY_REFERENCE_SCHEMA if writer.by_reference else INDEX_SCHEMA
    row = {name: found.row[name] for name in schema.names} | {"key": key, "source": found.row["name"]}
    if writer.tokenizer is None:
        row |= {"tokens": None, "part_tokens": None}
    if writer.format == "webdataset":  # members are copied without parsing
        return Sample(key, found.members, row, dict)
    record = build_record(found.row, found.members, key)
    if isinstance(record, CaptionedImage) and not writer.has_captioned_images:
        record, row = as_document(record, found.row["source"]), row | {"kind": "document"}
    return Sample(key, found.members, row, lambda: to_parquet_row(record))


def as_document(image: CaptionedImage, source: str) -> Document:
    """Converts a captioned image into a document: the image, then its caption if any; `DETAILS` go to the metadata."""
    url = image.url or None
    shown = DocumentImage(image.image, image.extension, image.width, image.height, image.sha256, url, "{}")
    return Document(
        key=image.key,
        uid=image.uid or None,
        source=source,
        url=None,
        parts=(0, image.text) if image.text else (0,),
        images=(shown,),
        metadata=json.dumps({name: getattr(image, name) for name in DETAILS}, ensure_ascii=False),
    )


def count_by_source(rows: list[dict[str, Any]], image_tokens: ImageTokenRule | None = None) -> dict[str, int]:
    """Sums the measures of a shard's index rows over all samples, and per source (keys such as `source.images`).

    `image_tokens` is the rule of a mixture that is weighted by multimodal tokens.
    """
    counts: Counter[str] = Counter()
    for row in rows:
        measures = {name: row[name] for name in ("tokens", "images", "characters") if row[name] is not None}
        if image_tokens is not None and "tokens" in measures:
            measures[MULTIMODAL_TOKENS] = measures["tokens"] + image_tokens.sum_images(row["image_details"])
        counts.update(measures | {"empty_texts": int(not row["characters"])})
        counts.update({f"{row['source']}.{name}": count for name, count in measures.items()})
        counts[f"{row['source']}.samples"] += 1
    return dict(sorted(counts.items()))
