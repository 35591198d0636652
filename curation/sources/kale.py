"""BLIP3-KALE: Parquet, a URL and a caption a row (docs/formats.md §3).

Only `caption`, the one with knowledge put in, is known for sure; `url` is what the images must come from. All other
columns are kept in the metadata.
"""

from collections.abc import Mapping
from typing import Any

from curation.sources.formats.fields import as_json, caption_image, caption_text, others
from curation.sources.reader import SourceReader, without_options
from schemas.records.document import CaptionDraft
from schemas.records.uid import uid_text

COLUMNS = ("url", "caption")


def read(row: Mapping[str, Any]) -> CaptionDraft:
    """The captioned image of one row."""
    image = caption_image(row.get("url"))
    return CaptionDraft(
        uid=uid_text(row.get("uid")),
        url=image.url,
        image=image,
        text=caption_text(row.get("caption")),
        metadata=as_json(others(row, (*COLUMNS, "uid"))),
    )


SOURCE = SourceReader("kale", without_options(read), (".parquet",), is_captions=True, columns=COLUMNS, optional=None)
