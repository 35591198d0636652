"""Reads BLIP3-KALE from Parquet: a URL and a caption in each row (docs/formats.md §3).

Only `caption`, the knowledge-augmented caption, is certain to exist; the images must come from `url`. The reader takes
the alt text from `alt_text`, which `shardloom render knowledge` writes, and keeps all other columns in the metadata.
"""

from collections.abc import Mapping
from typing import Any

from curation.sources.formats.fields import (
    dump_metadata,
    read_caption_image,
    read_caption_text,
    read_text_leniently,
    select_other_fields,
)
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedCaptionedImage
from schemas.records.uid import to_uid

COLUMNS = ("url", "caption")


def read(row: Mapping[str, Any]) -> ParsedCaptionedImage:
    """Returns the captioned image of one row. Raises `Rejected`."""
    image = read_caption_image(row.get("url"))
    return ParsedCaptionedImage(
        uid=to_uid(row.get("uid")),
        url=image.url,
        image=image,
        text=read_caption_text(row.get("caption")),
        alt_text=read_text_leniently(row.get("alt_text"), "alt_text") or "",
        metadata=dump_metadata(select_other_fields(row, (*COLUMNS, "uid", "alt_text"))),
    )


SOURCE = SourceReader("kale", ignore_options(read), (".parquet",), is_captions=True, columns=COLUMNS, optional=None)
