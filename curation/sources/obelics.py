"""Reads OBELICS from Parquet, with images as URLs (docs/formats.md §6).

`texts`, `images` and `metadata` (a string of JSON) have one entry per part: `texts` is null at an image, the other two
are null at a text. Images may follow each other. `images[i]` must equal `metadata[i]["src"]`; if it does not, the
columns are misaligned and the reader rejects the row. `general_metadata`, also JSON, contains the page's URL. If
`metadata` or `general_metadata` is unreadable, the reader keeps the document. Where the makers joined two documents of
a page, the text contains the paragraph `END_OF_DOCUMENT_TOKEN_TO_BE_REPLACED`: the reader replaces it by a blank line,
which is what separates paragraphs.
"""

import re
from collections.abc import Mapping
from typing import Any

from curation.sources.formats.fields import (
    decode_text,
    interleave_parts,
    malformed_row_error,
    read_optional_list,
    read_web_image,
)
from curation.sources.formats.lenient_fields import parse_json_or_keep, read_text_or_keep
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedDocument

COLUMNS = ("texts", "images")
OPTIONAL = ("metadata", "general_metadata")

SENTINEL = "END_OF_DOCUMENT_TOKEN_TO_BE_REPLACED"

_SENTINELS = re.compile(rf"(?<!\s)\s*+(?:{SENTINEL}\s*+)++")


def read(row: Mapping[str, Any]) -> ParsedDocument:
    """Returns the document of one row. Raises `Rejected`."""
    texts, urls = ([decode_text(value) for value in read_optional_list(row.get(name), name)] for name in COLUMNS)
    about = parse_json_or_keep(row.get("metadata"), "metadata")
    listed = about if isinstance(about, list) else []
    if listed:
        if len(listed) != len(urls):
            raise malformed_row_error(
                f"{len(urls)} images and {len(listed)} entries of metadata: not one at each place"
            )
        _check_alignment(urls, listed)
    entries = [entry if isinstance(entry, dict) else {} for entry in listed] or [{}] * len(urls)
    images = [None if url is None else read_web_image(url, entry) for url, entry in zip(urls, entries, strict=True)]

    general = parse_json_or_keep(row.get("general_metadata"), "general_metadata")
    kept = general if isinstance(general, dict) else {"general_metadata": general} if general else {}
    page, _ = read_text_or_keep(kept.get("url"), "url")
    unread = {"metadata": about} if about and not listed else {}
    return interleave_parts(None, page, [_replace_sentinels(text) for text in texts], images, kept | unread)


def _check_alignment(urls: list[Any], entries: list[Any]) -> None:
    """Raises `Rejected` if an image is not that of its metadata: it is unknown which column is misaligned.

    An image without an entry is accepted, unless a part without an image has an entry.
    """
    is_told_of_none = any(url is None and isinstance(entry, dict) for url, entry in zip(urls, entries, strict=True))
    for place, (url, entry) in enumerate(zip(urls, entries, strict=True)):
        if url is None:
            continue
        if not isinstance(entry, dict):
            if is_told_of_none:
                raise malformed_row_error(f"part {place}: an image without an entry of metadata")
        elif isinstance(url, str) and isinstance(source := entry.get("src"), str) and source != url:
            raise malformed_row_error(f"part {place}: the image is not the one in its metadata")


def _replace_sentinels(text: Any) -> Any:
    """Replaces the sentinels of a text by blank lines. Returns any other value unchanged."""
    if not isinstance(text, str) or SENTINEL not in text:
        return text
    return _SENTINELS.sub("\n\n", text).strip()


SOURCE = SourceReader("obelics", ignore_options(read), (".parquet",), columns=COLUMNS, optional=OPTIONAL)
