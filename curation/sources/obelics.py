"""OBELICS: Parquet, images as URLs (docs/formats.md §6).

`texts`, `images` and `metadata` (a string of JSON) have one entry a part: the first is null where an image stands, the
other two where a text does; images may follow each other. `images[i]` is `metadata[i]["src"]`: a row in which it isn't
has slipped. `general_metadata`, JSON as well, has the page's URL. Either may be unreadable: the document stays. Where
the makers joined two documents of a page, the text holds the paragraph `END_OF_DOCUMENT_TOKEN_TO_BE_REPLACED`: it
becomes what stands between paragraphs.
"""

import re
from collections.abc import Mapping
from typing import Any

from curation.sources.formats.fields import interleaved, malformed, optional_list, web_image
from curation.sources.formats.remarks import remark, text_remark
from curation.sources.reader import SourceReader, without_options
from schemas.records.document import Draft

COLUMNS = ("texts", "images")
OPTIONAL = ("metadata", "general_metadata")

SENTINEL = "END_OF_DOCUMENT_TOKEN_TO_BE_REPLACED"

_SENTINELS = re.compile(rf"(?<!\s)\s*+(?:{SENTINEL}\s*+)++")


def read(row: Mapping[str, Any]) -> Draft:
    """The document of one row."""
    texts, urls = (optional_list(row.get(name), name) for name in COLUMNS)
    about = remark(row.get("metadata"), "metadata")
    told = about if isinstance(about, list) else []
    if told and len(told) != len(urls):
        raise malformed(f"{len(urls)} images and {len(told)} entries of metadata: not one at each place")
    _check_slip(urls, told)
    entries = [entry if isinstance(entry, dict) else {} for entry in told] or [{}] * len(urls)
    images = [None if url is None else web_image(url, entry) for url, entry in zip(urls, entries, strict=True)]

    general = remark(row.get("general_metadata"), "general_metadata")
    kept = general if isinstance(general, dict) else {"general_metadata": general} if general else {}
    page, _ = text_remark(kept.get("url"), "url")
    unread = {"metadata": about} if about and not told else {}
    return interleaved(None, page, [_joined(text) for text in texts], images, kept | unread)


def _check_slip(urls: list[Any], told: list[Any]) -> None:
    """Raises `Rejected` where the metadata has an image at another place: then nothing tells which column has slipped.

    An image of which nothing is told is no slip, unless something is told of a place that has no image.
    """
    is_told_of_none = any(url is None and isinstance(entry, dict) for url, entry in zip(urls, told, strict=False))
    for place, (url, entry) in enumerate(zip(urls, told, strict=False)):
        if url is None:
            continue
        if not isinstance(entry, dict):
            if is_told_of_none:
                raise malformed(f"part {place}: an image without an entry of metadata")
        elif isinstance(source := entry.get("src"), str) and source != url:
            raise malformed(f"part {place}: the image is not the one of its metadata")


def _joined(text: Any) -> Any:
    """The text without sentinels; whatever is no text as it is."""
    if not isinstance(text, str) or SENTINEL not in text:
        return text
    return _SENTINELS.sub("\n\n", text).strip()


SOURCE = SourceReader("obelics", without_options(read), (".parquet",), columns=COLUMNS, optional=OPTIONAL)
