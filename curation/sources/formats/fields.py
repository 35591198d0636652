"""Checks the fields of a row. A field of an unexpected type rejects the row, with an error that names the field."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from schemas.json_text import MAX_JSON, parse_json, parse_object
from schemas.records.document import ImageSource, ParsedDocument, ParsedImage
from schemas.records.quarantine import Reason, Rejected
from schemas.records.training_text import to_training_text
from schemas.web_address import is_web_address

MAX_PARTS = 100_000  # per document; the longest books on the web have a few thousand paragraphs


def malformed_row_error(detail: str) -> Rejected:
    """Returns the error that a reader raises for a row that does not have the layout of its set."""
    return Rejected(Reason.MALFORMED_ROW, detail)


def read_web_image(value: Any, metadata: Any = None) -> ParsedImage:
    """Returns the image of a URL; a lost image (`lost_image`) for any other address (`data:`, a relative path, ...) and
    for bytes that are not UTF-8.
    """
    about = dump_metadata(metadata or {})
    try:
        url = read_optional_text(value, "the image's url") or ""
    except Rejected as fault:
        if not isinstance(value, bytes):
            raise
        return ParsedImage(Rejected(Reason.LOST_IMAGE, fault.detail), None, about)
    source: ImageSource = url if is_web_address(url) else Rejected(Reason.LOST_IMAGE, f"no web address: {url[:100]!r}")
    return ParsedImage(source, url or None, about)


def read_caption_image(value: Any) -> ParsedImage:
    """Works like `read_web_image`, but raises `Rejected(missing_image)` for a lost image: the row is useless without
    it.
    """
    image = read_web_image(value)
    if isinstance(image.source, Rejected):
        raise Rejected(Reason.MISSING_IMAGE, image.source.detail if value else "there is no url")
    return image


def read_caption_text(value: Any) -> str:
    """Returns a caption without surrounding white space. Raises `Rejected(no_caption)` if it is empty."""
    text = (read_training_text(value, "the caption") or "").strip().lstrip("\ufeff").lstrip()
    if not text:
        raise Rejected(Reason.NO_CAPTION, "the caption is empty")
    return text


def read_training_text(value: Any, name: str) -> str | None:
    """Returns a text to train on, unchanged but for a byte order mark; a number as text; None for null and NaN.

    Raises `Rejected(not_text)` for a value of another type, and for bytes or characters that aren't text.
    """
    try:
        return to_training_text(value)
    except Rejected as fault:
        raise Rejected(fault.reason, f"{name}: {fault.detail}") from None


def read_optional_text(value: Any, name: str) -> str | None:
    """Returns a text about a sample, with each half of a surrogate pair replaced by `?`, so that it can be stored.

    Returns None for null. Raises `Rejected` for another type, or bytes that are not UTF-8. For text to train on, see
    `read_training_text`.
    """
    if value is None:
        return None
    if isinstance(value, bytes):  # Spark and Hive may not declare a Parquet column as text
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise malformed_row_error(f"{name} is not UTF-8: {error.reason} at byte {error.start}") from None
    if not isinstance(value, str):
        raise malformed_row_error(f"{name} is a {type(value).__name__}, not a text")
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def read_text_leniently(value: Any, name: str) -> str | None:
    """Works like `read_optional_text`, but returns None for an invalid value, so that it does not cost the sample."""
    try:
        return read_optional_text(value, name)
    except Rejected:
        return None


def decode_text(value: Any) -> Any:
    """Returns bytes as text if they are UTF-8; any other value unchanged."""
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value


def read_optional_list(value: Any, name: str) -> list[Any]:
    """Returns a list of at most `MAX_PARTS` entries; an empty one for null. Raises `Rejected`."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise malformed_row_error(f"{name} is a {type(value).__name__}, not a list")
    if len(value) > MAX_PARTS:
        raise malformed_row_error(f"{name} has {len(value)} entries; at most {MAX_PARTS} are read")
    return value


def parse_json_object(value: str | bytes, name: str) -> dict[str, Any]:
    """Parses a string into a JSON object. Raises `Rejected`."""
    try:
        return parse_object(value, name, MAX_JSON)
    except ValueError as error:
        raise malformed_row_error(str(error)) from None


def parse_json_value(value: Any, name: str) -> Any:
    """Parses a string or bytes of JSON; None if they are blank. Returns other values unchanged: they are parsed."""
    if not isinstance(value, str | bytes):
        return value
    try:
        return parse_json(value, name, MAX_JSON) if value.strip() else None
    except ValueError as error:
        raise malformed_row_error(str(error)) from None


def dump_metadata(value: Mapping[str, Any]) -> str:
    """Returns the JSON of additional fields: values that JSON lacks are written as text, NaN and bytes as null."""
    return json.dumps(_to_plain(value, 0), ensure_ascii=False).encode("utf-8", "replace").decode()


def select_other_fields(row: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """Returns the row's fields that are neither `known` nor null."""
    left_out = set(known)
    return {str(name): value for name, value in row.items() if name not in left_out and value is not None}


def interleave_parts(
    uid: str | None,
    url: str | None,
    texts: list[Any],
    images: list[ParsedImage | None],
    metadata: Mapping[str, Any],
) -> ParsedDocument:
    """Builds a document from two lists of equal length that have either a text or an image at each position.

    Skips a position at which both are null. Either list may be empty. Raises `Rejected` for lists of different lengths,
    a position with both a text and an image, and what is not text.
    """
    if texts and images and len(texts) != len(images):
        raise malformed_row_error(f"{len(texts)} texts and {len(images)} images: not one at each place")
    places = max(len(texts), len(images))
    parts: list[str | int] = []
    shown: list[ParsedImage] = []
    for place, (text, image) in enumerate(zip(texts or [None] * places, images or [None] * places, strict=True)):
        said = read_training_text(text, f"part {place}")
        if said is not None and image is not None:
            raise malformed_row_error(f"part {place}: both a text and an image")
        if said is not None:
            parts.append(said)
        elif image is not None:
            parts.append(len(shown))
            shown.append(image)
    return ParsedDocument(uid, url, tuple(parts), tuple(shown), dump_metadata(metadata))


def _to_plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes) or depth > 50:
        return None
    if isinstance(value, Mapping):
        return {str(name): _to_plain(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item, depth + 1) for item in value]
    return str(value)
