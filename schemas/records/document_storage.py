"""Stores a document as members of a WebDataset tar or as a row of Parquet. Both forms hold the same data.

WebDataset: `{key}.json` with the ordered parts, `{"text": ...}` or `{"image": i}`; then `{key}.0.jpg`, `{key}.1.png`.
Parquet: one row per document. Its three lists have one entry per part: each position holds either a text or an image,
as in OBELICS, and an image's details are at the image's own position. An image is the struct that Hugging Face
`datasets` shows as a picture.
"""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from schemas.json_text import MAX_JSON, parse_object
from schemas.records.document import Document, DocumentImage, Part, Role, validate_document


def to_members(document: Document) -> list[tuple[str, bytes]]:
    """Returns the extension (`json`, `0.jpg`, ...) and the bytes of each member, in tar order.

    Raises `ValueError` if the document is invalid.
    """
    validate_document(document)
    images = [{"extension": image.extension} | _get_details(image) for image in document.images]
    content: dict[str, Any] = {
        "uid": document.uid,
        "source": document.source,
        "url": document.url,
        "parts": [{"text": part} if isinstance(part, str) else {"image": part} for part in document.parts],
        "images": images,
        "metadata": document.metadata,
    }
    if document.roles is not None:
        content["roles"] = list(document.roles)
    files = [(f"{number}.{image.extension}", image.data) for number, image in enumerate(document.images)]
    return [("json", json.dumps(content, ensure_ascii=False).encode()), *files]


def from_members(key: str, members: Mapping[str, bytes]) -> Document:
    """Returns the document with this key from its members, given by extension. Raises `ValueError` naming the fault."""
    if "json" not in members:
        raise ValueError("there is no .json member")
    content = parse_object(members["json"], "the .json member", MAX_JSON)
    images = []
    for number, item in enumerate(_get_list(content, "images")):
        ending = f"{number}.{_get_field(item, 'extension', str, f'image {number}')}"
        if ending not in members:
            raise ValueError(f"image {number}: there is no member {ending}")
        images.append(_parse_image(item, members[ending], ending.partition(".")[2], f"image {number}"))
    if len(members) > 1 + len(images):
        extra = set(members) - {"json"} - {f"{number}.{image.extension}" for number, image in enumerate(images)}
        raise ValueError(f"member {min(extra)}: no part of the document")
    parts = [_parse_part(item, f"part {number}") for number, item in enumerate(_get_list(content, "parts"))]
    return _build_document(key, parts, images, content)


def to_row(document: Document) -> dict[str, Any]:
    """Returns the document's row in Parquet. Raises `ValueError` if the document is invalid."""
    validate_document(document)
    texts = [part if isinstance(part, str) else None for part in document.parts]
    images = [None if isinstance(part, str) else document.images[part] for part in document.parts]
    files = (
        image and {"bytes": image.data, "path": f"{document.key}.{part}.{image.extension}"}
        for part, image in zip(document.parts, images, strict=True)
    )
    return {
        "key": document.key,
        "uid": document.uid,
        "source": document.source,
        "url": document.url,
        "texts": texts,
        "images": list(files),
        "image_details": [image and _get_details(image) for image in images],
        "metadata": document.metadata,
        "roles": None if document.roles is None else list(document.roles),
    }


def from_row(row: Mapping[str, Any]) -> Document:
    """Returns the document of one row, as `Table.to_pylist` gives it. Raises `ValueError` naming the fault."""
    parts: list[Part] = []
    images: list[DocumentImage] = []
    texts, files, details = (_get_list(row, name) for name in ("texts", "images", "image_details"))
    if not len(texts) == len(files) == len(details):
        raise ValueError(f"{len(texts)} texts, {len(files)} images and {len(details)} image_details are not of a kind")
    for number, (text, file, detail) in enumerate(zip(texts, files, details, strict=True)):
        place = f"part {number}"
        if (text is None) == (file is None) or (file is None) != (detail is None):
            raise ValueError(f"{place}: not either a text or an image with its details")
        if isinstance(text, str):
            parts.append(text)
            continue
        extension = _get_field(file, "path", str, place).rpartition(".")[2]
        parts.append(len(images))
        images.append(_parse_image(detail, _get_field(file, "bytes", bytes, place), extension, place))
    return _build_document(_get_field(row, "key", str, "key"), parts, images, row)


def _build_document(key: str, parts: list[Part], images: list[DocumentImage], stored: Mapping[str, Any]) -> Document:
    """Returns the document of these parts, with the fields that both forms store by the same names."""
    document = Document(
        key=key,
        uid=_get_field(stored, "uid", str | None, "uid"),
        source=_get_field(stored, "source", str, "source"),
        url=_get_field(stored, "url", str | None, "url"),
        parts=tuple(parts),
        images=tuple(images),
        metadata=_get_field(stored, "metadata", str, "metadata"),
        roles=_get_roles(stored),
    )
    validate_document(document)
    return document


def _get_details(image: DocumentImage) -> dict[str, Any]:
    return {name: getattr(image, name) for name in _IMAGE_DETAILS}


def _parse_image(item: Any, data: bytes, extension: str, place: str) -> DocumentImage:
    return DocumentImage(
        data=data,
        extension=extension,
        width=_get_field(item, "width", int, place),
        height=_get_field(item, "height", int, place),
        sha256=_get_field(item, "sha256", str, place),
        url=_get_field(item, "url", str | None, place),
        metadata=_get_field(item, "metadata", str, place),
    )


def _parse_part(item: Any, place: str) -> Part:
    if not isinstance(item, dict) or len(item) != 1 or not item.keys() <= {"text", "image"}:
        raise ValueError(f"{place}: neither a text nor an image")
    part: Part = _get_field(item, "text", str, place) if "text" in item else _get_field(item, "image", int, place)
    return part


def _get_field(item: Any, name: str, kind: Any, place: str) -> Any:
    value = item.get(name) if isinstance(item, Mapping) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{place}: {name} is {'missing' if value is None else 'a ' + type(value).__name__}")
    return value


def _get_list(item: Mapping[str, Any], name: str) -> list[Any]:
    value = item.get(name)
    if not isinstance(value, list):
        raise ValueError(f"{name}: not a list")
    return value


def _get_roles(item: Mapping[str, Any]) -> tuple[Role, ...] | None:
    """Returns the roles; None for documents that are not conversations, and in tables from before roles existed."""
    return None if item.get("roles") is None else tuple(_get_list(item, "roles"))


_STRING = {"dtype": "string", "_type": "Value"}
_NUMBER = {"dtype": "int32", "_type": "Value"}
_IMAGE_DETAILS = {"width": _NUMBER, "height": _NUMBER, "sha256": _STRING, "url": _STRING, "metadata": _STRING}
_DETAIL_FIELDS = [(name, pa.type_for_alias(kind["dtype"])) for name, kind in _IMAGE_DETAILS.items()]
_FEATURES = {
    "key": _STRING,
    "uid": _STRING,
    "source": _STRING,
    "url": _STRING,
    "texts": {"feature": _STRING, "_type": "List"},
    "images": {"feature": {"_type": "Image"}, "_type": "List"},
    "image_details": {"feature": _IMAGE_DETAILS, "_type": "List"},
    "metadata": _STRING,
    "roles": {"feature": _STRING, "_type": "List"},
}

PARQUET_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("uid", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        # The lists are never null. They are nullable because `datasets` otherwise finds this schema unequal to its own.
        pa.field("texts", pa.list_(pa.string())),
        pa.field("images", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
        pa.field("image_details", pa.list_(pa.struct(_DETAIL_FIELDS))),
        pa.field("metadata", pa.string(), nullable=False),
        pa.field("roles", pa.list_(pa.string())),
    ],
    metadata={b"huggingface": json.dumps({"info": {"features": _FEATURES}}).encode()},
)
"""The Parquet schema, with the metadata that makes `datasets` decode the images."""

JSON_TYPE = pa.struct(
    [
        *((name, pa.string()) for name in ("uid", "source", "url", "metadata")),
        ("parts", pa.list_(pa.struct([("text", pa.string()), ("image", pa.int32())]))),
        ("images", pa.list_(pa.struct([("extension", pa.string()), *_DETAIL_FIELDS]))),
        ("roles", pa.list_(pa.string())),
    ]
)
"""The type of a tar's `.json` member."""
