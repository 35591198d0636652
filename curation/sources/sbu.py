"""SBU Captions: one JSON object of parallel arrays, `image_urls` and `captions` (docs/formats.md §7).

Other arrays of the same length (the real file has some, of which nothing is known) go to each row's metadata.
"""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from curation.sources.formats.fields import as_json, caption_image, caption_text, others
from curation.sources.reader import SourceReader, without_options
from schemas.errors import UsageError
from schemas.json_text import parse_object
from schemas.records.document import CaptionDraft

MAX_FILE = 1 << 30  # bytes; the real one has under 200 MB, and is held whole

_COLUMNS = ("image_urls", "captions")


def items(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """The rows of a file. UsageError, to which the caller adds which file it is: it is not laid out so."""
    try:
        arrays = parse_object(file.read(MAX_FILE + 1), "it", MAX_FILE)
    except ValueError as error:
        raise UsageError(str(error)) from None
    urls, captions = (arrays.get(name) for name in _COLUMNS)
    if not isinstance(urls, list) or not isinstance(captions, list):
        raise UsageError("it has no arrays image_urls and captions: is it sbu-captions-all.json?")
    if len(urls) != len(captions):
        raise UsageError(f"it has {len(urls)} image_urls and {len(captions)} captions: they can't be told together")
    lists = {name: values for name, values in arrays.items() if isinstance(values, list) and len(values) == len(urls)}
    for number in range(len(urls)):
        yield {name: values[number] for name, values in lists.items()}


def read(row: Mapping[str, Any]) -> CaptionDraft:
    """The captioned image of one row."""
    image = caption_image(row.get("image_urls"))
    return CaptionDraft(
        uid=None,
        url=image.url,
        image=image,
        text=caption_text(row.get("captions")),
        metadata=as_json(others(row, _COLUMNS)),
    )


SOURCE = SourceReader("sbu", without_options(read), (".json",), is_captions=True, items=items)
