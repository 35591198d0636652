"""Copies samples into a mixture: their members byte for byte, and their index rows under new keys.

A Parquet set has one schema. So if any source contains documents, captioned images also become documents: the image,
then its caption.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from curation.mixture.reader import Found, read_samples, record_of
from pipelines.output.training_shards import Sample, ShardWriter, row_of
from schemas.output_set.shard_index import INDEX as SCHEMA
from schemas.records.document import Document, DocumentImage
from schemas.records.training_shard import CaptionedImage

DETAILS = ("source_shard", "source_key", "alt_text", "captions", "metadata")  # go to a document's metadata


def mixed_samples(writer: ShardWriter, name: str, located: pa.Table) -> Iterator[Sample]:
    """Yields the samples of the shard `name`. `located` are rows for `read_samples`, each with the source as `name`."""
    for number, found in enumerate(read_samples(located)):
        yield _sample(writer, found, f"{name}{number:06d}")


def _sample(writer: ShardWriter, found: Found, key: str) -> Sample:
    row = {name: found.row[name] for name in SCHEMA.names} | {"key": key, "source": found.row["name"]}
    if writer.tokenizer is None:
        row |= {"tokens": None, "part_tokens": None}
    if writer.format == "webdataset":  # members are copied without parsing
        return Sample(key, found.members, row, dict)
    record = record_of(found.row, found.members, key)
    if isinstance(record, CaptionedImage) and not writer.is_captions:
        record, row = as_document(record, found.row["source"]), row | {"kind": "document"}
    return Sample(key, found.members, row, lambda: row_of(record))


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


def counts_by_source(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Sums the measures of a shard's index rows over all samples, and per source (keys such as `source.images`)."""
    counts: Counter[str] = Counter()
    for row in rows:
        measures = {name: row[name] for name in ("tokens", "images", "characters") if row[name] is not None}
        counts.update(measures | {"empty_texts": int(not row["characters"])})
        counts.update({f"{row['source']}.{name}": count for name, count in measures.items()})
        counts[f"{row['source']}.samples"] += 1
    return dict(sorted(counts.items()))
