"""An interleaved document: texts and images in the order in which they are read; a text is one without images.

A conversation is a document that says of each part who speaks: a turn is a run of parts of one role.

`Document` is what a training shard holds. `Draft`, and `CaptionDraft` for a single image with its caption, are what the
reader of a published set makes of one row: their images may be addresses still, or lost.

WebDataset: `{key}.json` with the ordered parts, `{"text": ...}` or `{"image": i}`; then `{key}.0.jpg`, `{key}.1.png`.
Parquet: a row a document. Its three lists have one entry a part: at each place either a text or an image, as OBELICS
has it, and what is known of an image at the image's own place. An image is the struct that Hugging Face `datasets`
shows as a picture.

Images are numbered in the order in which they are read, and each stands in the text once. So the two forms hold the
same, and dropping an image can put no other one in its place.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa

from schemas.records.quarantine import Rejected

Part = str | int
"""A text, or the number of an image, from 0."""

Role = Literal["system", "user", "assistant", "context"]
"""Who speaks in a part of a conversation. A trainer learns what the assistant says; "context" is the assistant, too, in
a turn that is not to be learnt."""

ROLES: tuple[Role, ...] = ("system", "user", "assistant")
"""Those who speak."""

ImageSource = bytes | str | Rejected
"""An image's file; or the address (URL or file name) that a store has it under; or why it is lost."""

EXTENSIONS = ("jpg", "png", "webp", "gif", "bmp", "tif", "avif", "jp2", "ppm")
"""What an image's file may be called: one name for each format that is decoded."""

MAX_JSON = 1 << 26  # bytes of one document's .json; the longest papers have under 2 MiB of text

_KEY = re.compile(r"[A-Za-z0-9_-]{1,90}")  # a dot would end it in a tar, a longer one needs two headers a member
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class DocumentImage:
    """One image of a document, its file untouched."""

    data: bytes
    extension: str  # one of `EXTENSIONS`
    width: int  # pixels, upright
    height: int
    sha256: str  # of `data`
    url: str | None
    metadata: str  # JSON object: what the source says of this image


@dataclass(frozen=True, slots=True)
class Document:
    """One document. `validate` says what must hold; nothing is checked when one is made."""

    key: str  # unique in the whole set: letters, digits, `_` and `-`
    uid: str | None  # the source's own name for it
    source: str  # the data set that it came from
    url: str | None
    parts: tuple[Part, ...]
    images: tuple[DocumentImage, ...]
    metadata: str  # JSON object: what the source says of the document
    roles: tuple[Role, ...] | None = None  # of each part; None: no conversation


@dataclass(frozen=True, slots=True)
class DraftImage:
    """One image as a reader finds it."""

    source: ImageSource
    url: str | None = None
    metadata: str = "{}"


@dataclass(frozen=True, slots=True)
class Draft:
    """A document as a reader finds it: the parts of a `Document`, in which texts may be empty."""

    uid: str | None
    url: str | None
    parts: tuple[Part, ...]
    images: tuple[DraftImage, ...] = ()
    metadata: str = "{}"
    roles: tuple[Role, ...] | None = None


@dataclass(frozen=True, slots=True)
class CaptionDraft:
    """An image and its caption as a reader finds them: what a `CaptionedImage` is made of."""

    uid: str | None
    url: str | None
    image: DraftImage
    text: str  # what a trainer learns; empty when there is none
    alt_text: str = ""
    captions: str = "[]"  # JSON list of {text, granularity, include_datacomp_raw_cap}
    metadata: str = "{}"


def speaker(role: Role) -> Role:
    """Returns who speaks in a part of this role: one of `ROLES`."""
    return "assistant" if role == "context" else role


def validate(document: Document) -> None:
    """Checks that the document can be stored and read back as it is. ValueError names the part that is wrong.

    That a `sha256` is that of its image is not checked here: it takes as long as all the rest of the work.
    """
    if not _KEY.fullmatch(document.key):
        raise ValueError(f"key: {document.key!r} is not 1 to 90 letters, digits, _ and -")
    _check_text(document.source, "source")
    for name in ("uid", "url"):
        value = getattr(document, name)
        if value is not None:
            _check_text(value, name)
    _check_object(document.metadata, "metadata")
    if not document.parts:
        raise ValueError("parts: there are none")
    if document.roles is not None:
        _check_roles(document.roles, len(document.parts))
    due = 0
    for number, part in enumerate(document.parts):
        if isinstance(part, str):
            _check_text(part, f"part {number}")
            continue
        if type(part) is not int:
            raise ValueError(f"part {number}: a {type(part).__name__}, neither a text nor an image's number")
        if not 0 <= part < len(document.images):
            raise ValueError(f"part {number}: image {part} of {len(document.images)}")
        if part != due:
            raise ValueError(f"part {number}: image {part} where image {due} is due")
        due += 1
    if due < len(document.images):
        raise ValueError(f"image {due}: no part refers to it")
    for number, image in enumerate(document.images):
        _check_image(image, f"image {number}")


def without_images(document: Document, dropped: Collection[int]) -> Document:
    """The document without the images of these numbers; those that stay are numbered anew."""
    kept = [number for number in range(len(document.images)) if number not in dropped]
    new = {number: position for position, number in enumerate(kept)}
    stay = [place for place, part in enumerate(document.parts) if isinstance(part, str) or part in new]
    parts = (document.parts[place] for place in stay)
    return replace(
        document,
        parts=tuple(part if isinstance(part, str) else new[part] for part in parts),
        images=tuple(document.images[number] for number in kept),
        roles=document.roles and tuple(document.roles[place] for place in stay),
    )


def without_blanks(document: Document) -> Document:
    """The document without texts of nothing but space."""
    stay = [place for place, part in enumerate(document.parts) if isinstance(part, int) or part.strip()]
    return replace(
        document,
        parts=tuple(document.parts[place] for place in stay),
        roles=document.roles and tuple(document.roles[place] for place in stay),
    )


def to_members(document: Document) -> list[tuple[str, bytes]]:
    """Ending (`json`, `0.jpg`, ...) and bytes of its members, in their order in the tar. ValueError: invalid."""
    validate(document)
    images = [{"extension": image.extension} | _details(image) for image in document.images]
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
    """The document with this key whose members have these endings. ValueError says what is missing or wrong."""
    if "json" not in members:
        raise ValueError("there is no .json member")
    content = parse_object(members["json"], "the .json member", MAX_JSON)
    images = []
    for number, item in enumerate(_list(content, "images")):
        ending = f"{number}.{_field(item, 'extension', str, f'image {number}')}"
        if ending not in members:
            raise ValueError(f"image {number}: there is no member {ending}")
        images.append(_image(item, members[ending], ending.partition(".")[2], f"image {number}"))
    if len(members) > 1 + len(images):
        extra = set(members) - {"json"} - {f"{number}.{image.extension}" for number, image in enumerate(images)}
        raise ValueError(f"member {min(extra)}: no part of the document")
    document = Document(
        key=key,
        uid=_field(content, "uid", str | None, "uid"),
        source=_field(content, "source", str, "source"),
        url=_field(content, "url", str | None, "url"),
        parts=tuple(_part(item, f"part {number}") for number, item in enumerate(_list(content, "parts"))),
        images=tuple(images),
        metadata=_field(content, "metadata", str, "metadata"),
        roles=_roles(content),
    )
    validate(document)
    return document


def to_row(document: Document) -> dict[str, Any]:
    """Its row in Parquet. ValueError: invalid."""
    validate(document)
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
        "image_details": [image and _details(image) for image in images],
        "metadata": document.metadata,
        "roles": None if document.roles is None else list(document.roles),
    }


def from_row(row: Mapping[str, Any]) -> Document:
    """The document of one row, as `Table.to_pylist` gives it. ValueError says what is wrong."""
    parts: list[Part] = []
    images: list[DocumentImage] = []
    texts, files, details = (_list(row, name) for name in ("texts", "images", "image_details"))
    if not len(texts) == len(files) == len(details):
        raise ValueError(f"{len(texts)} texts, {len(files)} images and {len(details)} image_details are not of a kind")
    for number, (text, file, detail) in enumerate(zip(texts, files, details, strict=True)):
        place = f"part {number}"
        if (text is None) == (file is None) or (file is None) != (detail is None):
            raise ValueError(f"{place}: not either a text or an image with its details")
        if isinstance(text, str):
            parts.append(text)
            continue
        extension = _field(file, "path", str, place).rpartition(".")[2]
        parts.append(len(images))
        images.append(_image(detail, _field(file, "bytes", bytes, place), extension, place))
    document = Document(
        key=_field(row, "key", str, "key"),
        uid=_field(row, "uid", str | None, "uid"),
        source=_field(row, "source", str, "source"),
        url=_field(row, "url", str | None, "url"),
        parts=tuple(parts),
        images=tuple(images),
        metadata=_field(row, "metadata", str, "metadata"),
        roles=_roles(row),
    )
    validate(document)
    return document


def parse_object(text: str | bytes, name: str, most: int) -> dict[str, Any]:
    """The JSON object that `text` holds; ValueError, of one line, for anything else and for more than `most` of it."""
    value = parse_json(text, name, most)
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no JSON object")
    return value


def parse_json(text: str | bytes, name: str, most: int) -> Any:
    """What `text` holds; ValueError, of one line, when it is not JSON and when there is more than `most` of it."""
    if len(text) > most:
        raise ValueError(f"{name} has a length of {len(text)}; at most {most} is read")
    if isinstance(text, str):
        text = text.removeprefix("\ufeff")  # a byte order mark, which `json` passes over in bytes alone
    try:
        return json.loads(text, parse_constant=lambda _: None)  # NaN, which only Python takes for JSON
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{name} is nested too deep") from None


def _details(image: DocumentImage) -> dict[str, Any]:
    return {name: getattr(image, name) for name in _DETAILS}


def _image(item: Any, data: bytes, extension: str, place: str) -> DocumentImage:
    return DocumentImage(
        data=data,
        extension=extension,
        width=_field(item, "width", int, place),
        height=_field(item, "height", int, place),
        sha256=_field(item, "sha256", str, place),
        url=_field(item, "url", str | None, place),
        metadata=_field(item, "metadata", str, place),
    )


def _part(item: Any, place: str) -> Part:
    if not isinstance(item, dict) or len(item) != 1 or not item.keys() <= {"text", "image"}:
        raise ValueError(f"{place}: neither a text nor an image")
    part: Part = _field(item, "text", str, place) if "text" in item else _field(item, "image", int, place)
    return part


def _field(item: Any, name: str, kind: Any, place: str) -> Any:
    value = item.get(name) if isinstance(item, Mapping) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{place}: {name} is {'missing' if value is None else 'a ' + type(value).__name__}")
    return value


def _list(item: Mapping[str, Any], name: str) -> list[Any]:
    value = item.get(name)
    if not isinstance(value, list):
        raise ValueError(f"{name}: not a list")
    return value


def _roles(item: Mapping[str, Any]) -> tuple[Role, ...] | None:
    """They are there in conversations only; in tables written before there were any, nowhere."""
    return None if item.get("roles") is None else tuple(_list(item, "roles"))


def _check_roles(roles: tuple[Role, ...], parts: int) -> None:
    if len(roles) != parts:
        raise ValueError(f"roles: {len(roles)} of {parts} parts")
    for number, role in enumerate(roles):
        if speaker(role) not in ROLES:
            raise ValueError(f"part {number}: its role {role!r} is not one of {', '.join(ROLES)}")


def _check_text(text: Any, place: str) -> None:
    if not isinstance(text, str) or not text:
        raise ValueError(f"{place}: {'an empty text' if text == '' else 'not a text'}")
    if not text.isascii() and _SURROGATE.search(text):
        raise ValueError(f"{place}: half of a surrogate pair, which can be stored nowhere")


def _check_object(text: Any, place: str) -> None:
    _check_text(text, place)
    try:
        parse_object(text, "it", MAX_JSON)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _check_image(image: DocumentImage, place: str) -> None:
    if not isinstance(image.data, bytes) or not image.data:
        raise ValueError(f"{place}: no bytes")
    if image.extension not in EXTENSIONS:
        raise ValueError(f"{place}: extension {image.extension!r} is not one of {', '.join(EXTENSIONS)}")
    for size in (image.width, image.height):
        if type(size) is not int or not 0 < size < 1 << 31:
            raise ValueError(f"{place}: {image.width!r} x {image.height!r} pixels")
    if not isinstance(image.sha256, str) or not _SHA256.fullmatch(image.sha256):
        raise ValueError(f"{place}: sha256 is not 64 lower-case hexadecimal digits")
    if image.url is not None:
        _check_text(image.url, f"{place}: url")
    _check_object(image.metadata, f"{place}: metadata")


_STRING = {"dtype": "string", "_type": "Value"}
_NUMBER = {"dtype": "int32", "_type": "Value"}
_DETAILS = {"width": _NUMBER, "height": _NUMBER, "sha256": _STRING, "url": _STRING, "metadata": _STRING}
_FEATURES = {
    "key": _STRING,
    "uid": _STRING,
    "source": _STRING,
    "url": _STRING,
    "texts": {"feature": _STRING, "_type": "List"},
    "images": {"feature": {"_type": "Image"}, "_type": "List"},
    "image_details": {"feature": _DETAILS, "_type": "List"},
    "metadata": _STRING,
    "roles": {"feature": _STRING, "_type": "List"},
}

PARQUET = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("uid", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        # nullable, though the lists never are null: `datasets` takes its own schema for equal to this one only so
        pa.field("texts", pa.list_(pa.string())),
        pa.field("images", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
        pa.field(
            "image_details",
            pa.list_(pa.struct([(name, pa.type_for_alias(kind["dtype"])) for name, kind in _DETAILS.items()])),
        ),
        pa.field("metadata", pa.string(), nullable=False),
        pa.field("roles", pa.list_(pa.string())),
    ],
    metadata={b"huggingface": json.dumps({"info": {"features": _FEATURES}}).encode()},
)
"""The Parquet form, with the metadata that makes `datasets` decode the images."""
