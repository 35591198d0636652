"""Reads MINT-1T HTML from Parquet, with images as URLs (docs/formats.md §5).

`texts` and `images` have one entry per part, of which one is null. `image_hashes` and `images_metadata` (a string of
JSON) have one entry per *image* and are shorter: zipping them with `images` would assign their entries to the wrong
images. The reader stores the entries in the metadata of their images. A list of any other length cannot be assigned, so
it goes to the document's metadata unchanged. Read the file by row group and by column: its nested lists have broken
readers that take whole chunked columns.
"""

from collections.abc import Mapping
from typing import Any

from curation.sources.formats.fields import decode_text, interleave_parts, read_optional_list, read_web_image
from curation.sources.formats.lenient_fields import parse_json_or_keep, read_text_or_keep
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedDocument

COLUMNS = ("texts", "images")
OPTIONAL = ("image_hashes", "images_metadata", "metadata", "url", "cc_dump")


def read(row: Mapping[str, Any]) -> ParsedDocument:
    """Returns the document of one row. Raises `Rejected`."""
    texts, urls = (read_optional_list(row.get(name), name) for name in COLUMNS)
    shown = sum(url is not None for url in urls)
    of_images: list[dict[str, Any]] = [{} for _ in range(shown)]
    of_document = {
        "metadata": parse_json_or_keep(row.get("metadata"), "metadata"),
        "cc_dump": decode_text(row.get("cc_dump")),
    }
    for name, word in (("image_hashes", "hash"), ("images_metadata", "metadata")):
        values = parse_json_or_keep(row.get(name), name)
        if isinstance(values, list) and len(values) == shown:
            for about, value in zip(of_images, values, strict=True):
                about[word] = value
        else:
            of_document[name] = values

    image_entries = iter(of_images)
    images = [None if url is None else read_web_image(url, next(image_entries)) for url in urls]
    url, no_url = read_text_or_keep(row.get("url"), "url")
    kept = {name: value for name, value in (of_document | no_url).items() if value not in (None, "", [])}
    return interleave_parts(None, url, texts, images, kept)


SOURCE = SourceReader("mint-html", ignore_options(read), (".parquet",), columns=COLUMNS, optional=OPTIONAL)
