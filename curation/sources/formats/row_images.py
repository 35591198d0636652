"""Parses the images of a conversation's row: paths, addresses, or the bytes of image files.

An image is a path, a `data:` URL, bytes, or an object with `bytes`, `path` or `url`, as Hugging Face `datasets` stores
images. The field `image` contains one image or a list of them, the field `images` a list. A row or a turn without both
may have its images in a field such as `image_path`, `img` or `image_urls`.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from curation.sources.formats.fields import dump_metadata, malformed_row_error, read_optional_list, read_optional_text
from schemas.records.document import ParsedImage

IMAGE_FIELDS = ("image", "images")

_OTHER_FIELDS = re.compile(r"(?:image|img)s?(?:_?(?:path|file|file_?name|name|url|uri)s?)?", re.IGNORECASE)
_SETTINGS = ("type", "detail", "format", "sampling_rate")  # fields that say how to read a value, and are none
_DATA_URL = re.compile(r"data:image/[^,;]{0,100};base64,", re.IGNORECASE)


def is_present(value: Any, depth: int = 3) -> bool:
    """Returns whether a field has a value: not null, false, empty, or a list or object of nothing but such values.

    Objects of Parquet have all their fields, so `{"bytes": None, "path": None}` is no image. Below `depth` levels of
    lists and objects, any value counts.
    """
    if isinstance(value, Mapping | list) and depth:
        held = value if isinstance(value, list) else [one for name, one in value.items() if name not in _SETTINGS]
        return any(is_present(one, depth - 1) for one in held)
    return value is not None and value is not False and value not in ("", b"", {}, [])


def find_image_fields(row: Mapping[str, Any]) -> list[str]:
    """Returns the fields that hold the images of a row or a turn: `image` and `images`, else the first other one.

    A path comes before an address: `image_url` often says where the image was found.
    """
    if found := [name for name in IMAGE_FIELDS if is_present(row.get(name))]:
        return found
    others = [name for name, value in row.items() if _OTHER_FIELDS.fullmatch(name) and is_present(value)]
    return sorted(others, key=lambda name: "ur" in name.lower())[:1]


def read_row_images(row: Mapping[str, Any]) -> list[ParsedImage]:
    """Returns the images of a row or a turn in order.

    Raises `Rejected` if `image` and `images` differ, or a value is not an image.
    """
    found = [_read_list(row[name], name) for name in find_image_fields(row)]
    if len(found) == 2 and found[0] != found[1]:
        raise malformed_row_error(f"image and images differ: {len(found[0])} and {len(found[1])} images, or others")
    return found[0] if found else []


def read_row_image(value: Any, name: str) -> ParsedImage:
    """Returns the image of a value in any of these forms. Raises `Rejected`, whose detail calls the image `name`."""
    if isinstance(value, Mapping):
        data, path = value.get("bytes"), next((value[key] for key in ("path", "url") if value.get(key)), None)
    else:
        data, path = (value, None) if isinstance(value, bytes) else (None, value)
    if isinstance(data, bytes) and data:
        original = read_optional_text(path, name) if isinstance(path, str) else None
        return ParsedImage(data, metadata=dump_metadata({"path": original} if original else {}))
    if not isinstance(path, str) or not path:
        raise malformed_row_error(f"{name} is neither bytes nor a path")
    if head := _DATA_URL.match(path):
        try:
            return ParsedImage(base64.b64decode(path[head.end() :], validate=True))
        except (binascii.Error, ValueError):
            raise malformed_row_error(f"{name} is a data: URL without base64") from None
    address = read_optional_text(path, name) or ""
    return ParsedImage(address, metadata=dump_metadata({"path": address}))


def _read_list(value: Any, name: str) -> list[ParsedImage]:
    values = [value] if isinstance(value, str | bytes | Mapping) else read_optional_list(value, name)
    return [read_row_image(value, f"image {number}") for number, value in enumerate(values)]
