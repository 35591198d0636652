"""The samples of a mixture: members byte for byte as they were, and index rows carried over, under new keys.

In Parquet a set has one schema. So where there are documents among the sources, captioned images become documents as
well: the image, then its caption.
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

DETAILS = ("source_shard", "source_key", "alt_text", "captions", "metadata")  # of a captioned image, in a document


def mixed_samples(writer: ShardWriter, name: str, located: pa.Table) -> Iterator[Sample]:
    """The samples of the shard `name`, of rows as `read_samples` takes them, each with the `name` of its source."""
    for number, found in enumerate(read_samples(located)):
        yield _sample(writer, found, f"{name}{number:06d}")


def _sample(writer: ShardWriter, found: Found, key: str) -> Sample:
    row = {name: found.row[name] for name in SCHEMA.names} | {"key": key, "source": found.row["name"]}
    if writer.tokenizer is None:
        row |= {"tokens": None, "part_tokens": None}
    if writer.format == "webdataset":  # nothing has to be read of what is only copied
        return Sample(key, found.members, row, dict)
    record = record_of(found.row, found.members, key)
    if isinstance(record, CaptionedImage) and not writer.is_captions:
        record, row = as_document(record, found.row["source"]), row | {"kind": "document"}
    return Sample(key, found.members, row, lambda: row_of(record))


def as_document(image: CaptionedImage, source: str) -> Document:
    """The image, then its caption if there is one; all else that is known of it is in the metadata."""
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
    """The measures of a shard's index over all its samples, and over those of each source, as `source.images`."""
    counts: Counter[str] = Counter()
    for row in rows:
        measures = {name: row[name] for name in ("tokens", "images", "characters") if row[name] is not None}
        counts.update(measures | {"empty_texts": int(not row["characters"])})
        counts.update({f"{row['source']}.{name}": count for name, count in measures.items()})
        counts[f"{row['source']}.samples"] += 1
    return dict(sorted(counts.items()))
