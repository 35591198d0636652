"""Reads BLIP3-KALE from Parquet: a URL and a caption in each row (docs/formats.md §3).

Only `caption`, the knowledge-augmented caption, is certain to exist; the images must come from `url`. The reader keeps
all other columns in the metadata.
"""

from collections.abc import Mapping
from typing import Any

from curation.sources.formats.fields import as_json, caption_image, caption_text, others
from curation.sources.reader import SourceReader, without_options
from schemas.records.document import CaptionDraft
from schemas.records.uid import uid_text

COLUMNS = ("url", "caption")


def read(row: Mapping[str, Any]) -> CaptionDraft:
    """Returns the captioned image of one row. Raises `Rejected`."""
    image = caption_image(row.get("url"))
    return CaptionDraft(
        uid=uid_text(row.get("uid")),
        url=image.url,
        image=image,
        text=caption_text(row.get("caption")),
        metadata=as_json(others(row, (*COLUMNS, "uid"))),
    )


SOURCE = SourceReader("kale", without_options(read), (".parquet",), is_captions=True, columns=COLUMNS, optional=None)
