"""OBELICS: Parquet, images as URLs (reference: formats.md §6).

`texts`, `images` and `metadata` (a string of JSON) have one entry a part: the first is null where an image stands, the
other two where a text does; images may follow each other. `images[i]` is `metadata[i]["src"]`: a row in which it isn't
has slipped. `general_metadata`, JSON as well, has the page's URL. Where the makers joined two documents of a page, the
text holds the paragraph `END_OF_DOCUMENT_TOKEN_TO_BE_REPLACED`: it becomes what stands between paragraphs.
"""

import re
from collections.abc import Mapping
from typing import Any

from curation.sources.formats.fields import interleaved, json_value, malformed, optional_list, optional_text, web_image
from curation.sources.reader import SourceReader, without_options
from schemas.records.document import Draft, DraftImage

COLUMNS = ("texts", "images")
OPTIONAL = ("metadata", "general_metadata")

SENTINEL = "END_OF_DOCUMENT_TOKEN_TO_BE_REPLACED"

_SENTINELS = re.compile(rf"(?<!\s)\s*+(?:{SENTINEL}\s*+)++")


def read(row: Mapping[str, Any]) -> Draft:
    """The document of one row."""
    texts, urls = (optional_list(row.get(name), name) for name in COLUMNS)
    about = optional_list(json_value(row.get("metadata"), "metadata"), "metadata")
    if about and len(about) != len(urls):
        raise malformed(f"{len(urls)} images and {len(about)} entries of metadata: not one at each place")

    images = [_image(url, about[place] if about else {}, place) for place, url in enumerate(urls)]
    general = json_value(row.get("general_metadata"), "general_metadata")
    general = general if isinstance(general, dict) else {}
    page = optional_text(general.get("url"), "general_metadata url")
    return interleaved(None, page, [_joined(text) for text in texts], images, general)


def _image(url: Any, told: Any, place: int) -> DraftImage | None:
    if url is None:
        return None
    if not isinstance(told, dict):
        raise malformed(f"part {place}: an image without an entry of metadata")
    if told.get("src", url) != url:
        raise malformed(f"part {place}: the image is not the one of its metadata")
    return web_image(url, told)


def _joined(text: Any) -> Any:
    """The text without sentinels; whatever is no text as it is."""
    if not isinstance(text, str) or SENTINEL not in text:
        return text
    return _SENTINELS.sub("\n\n", text).strip()


SOURCE = SourceReader("obelics", without_options(read), (".parquet",), columns=COLUMNS, optional=OPTIONAL)
