"""Reads SBU Captions from one JSON object of parallel arrays, `image_urls` and `captions` (docs/formats.md §7).

Other arrays of the same length (the real file has some, of unknown meaning) go to each row's metadata.
"""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from curation.sources.formats.fields import dump_metadata, read_caption_image, read_caption_text, select_other_fields
from curation.sources.reader import SourceReader, ignore_options
from schemas.errors import UsageError
from schemas.json_text import parse_object
from schemas.records.document import ParsedCaptionedImage

MAX_FILE = 1 << 30  # bytes; the real file has under 200 MB and is read into memory whole

_COLUMNS = ("image_urls", "captions")


def read_items(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yields the rows of a file. Raises `UsageError` for a file of another layout; the caller adds its name."""
    try:
        arrays = parse_object(file.read(MAX_FILE + 1), "it", MAX_FILE)
    except ValueError as error:
        raise UsageError(str(error)) from None
    urls, captions = (arrays.get(name) for name in _COLUMNS)
    if not isinstance(urls, list) or not isinstance(captions, list):
        raise UsageError("it has no arrays image_urls and captions: is it sbu-captions-all.json?")
    if len(urls) != len(captions):
        raise UsageError(f"it has {len(urls)} image_urls and {len(captions)} captions: their numbers must be equal")
    lists = {name: values for name, values in arrays.items() if isinstance(values, list) and len(values) == len(urls)}
    for number in range(len(urls)):
        yield {name: values[number] for name, values in lists.items()}


def read(row: Mapping[str, Any]) -> ParsedCaptionedImage:
    """Returns the captioned image of one row. Raises `Rejected`."""
    image = read_caption_image(row.get("image_urls"))
    return ParsedCaptionedImage(
        uid=None,
        url=image.url,
        image=image,
        text=read_caption_text(row.get("captions")),
        metadata=dump_metadata(select_other_fields(row, _COLUMNS)),
    )


SOURCE = SourceReader("sbu", ignore_options(read), (".json",), is_captions=True, items=read_items)
