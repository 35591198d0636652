"""Defines an interleaved document: texts and images in reading order. A text is a document without images.

A conversation is a document that also names the speaker of each part: a turn is a run of parts with one role.

A training shard stores `Document`. The reader of a published set turns one row into a `ParsedDocument`, or into a
`ParsedCaptionedImage` for a single image with its caption; their images may still be addresses, or lost.

Images are numbered in reading order, and each occurs in the text exactly once. So dropping one image never puts
another in its place.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal

from schemas.json_text import MAX_JSON, parse_object
from schemas.records.quarantine import Rejected

Part = str | int
"""A part of a document: a text, or the number of an image, from 0."""

Role = Literal["system", "user", "assistant", "context"]
"""The speaker of a part of a conversation. The trainer learns the assistant's parts; "context" is also the assistant,
in a turn that is excluded from the loss.
"""

ROLES: tuple[Role, ...] = ("system", "user", "assistant")
"""The speakers."""

ImageSource = bytes | str | Rejected
"""An image's file; or the address (URL or file name) under which a store has it; or the reason why it is lost."""

EXTENSIONS = ("jpg", "png", "webp", "gif", "bmp", "tif", "avif", "jp2", "ppm")
"""The extensions that an image's file may have: one for each format that is decoded."""

_KEY = re.compile(r"[A-Za-z0-9_-]{1,90}")  # a dot ends a key in a tar; longer ones need two headers a member
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class DocumentImage:
    """Holds one image of a document, with its file's bytes unchanged."""

    data: bytes
    extension: str  # one of `EXTENSIONS`
    width: int  # pixels, upright
    height: int
    sha256: str  # of `data`
    url: str | None
    metadata: str  # JSON object: the source's metadata of this image


@dataclass(frozen=True, slots=True)
class Document:
    """Holds one document. Construction checks nothing; `validate_document` checks what must hold."""

    key: str  # unique in the whole set: letters, digits, `_` and `-`
    uid: str | None  # the source's own id of the document
    source: str  # the data set that it came from
    url: str | None
    parts: tuple[Part, ...]
    images: tuple[DocumentImage, ...]
    metadata: str  # JSON object: the source's metadata of the document
    roles: tuple[Role, ...] | None = None  # one per part; None if the document is not a conversation


@dataclass(frozen=True, slots=True)
class ParsedImage:
    """Holds one image as a reader of a published set found it."""

    source: ImageSource
    url: str | None = None
    metadata: str = "{}"


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """Holds a document as a reader of a published set found it: the parts of a `Document`, whose texts may be empty."""

    uid: str | None
    url: str | None
    parts: tuple[Part, ...]
    images: tuple[ParsedImage, ...] = ()
    metadata: str = "{}"
    roles: tuple[Role, ...] | None = None


@dataclass(frozen=True, slots=True)
class ParsedCaptionedImage:
    """Holds an image and its caption as a reader of a published set found them; a `CaptionedImage` is made from it."""

    uid: str | None
    url: str | None
    image: ParsedImage
    text: str  # the text to train on; empty if there is none
    alt_text: str = ""
    captions: str = "[]"  # JSON list of {text, granularity, include_datacomp_raw_cap}
    metadata: str = "{}"
    has_unreadable_metadata: bool = False  # what the set stores as metadata cannot be read: counted


def get_speaker(role: Role) -> Role:
    """Returns the speaker of a part with this role: one of `ROLES`."""
    return "assistant" if role == "context" else role


def validate_document(document: Document) -> None:
    """Checks that the document can be stored and read back unchanged. Raises `ValueError` naming the faulty part.

    It does not check that each `sha256` matches its image: that takes as long as all the other work.
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


def drop_images(document: Document, dropped: Collection[int]) -> Document:
    """Returns the document without the images of these numbers; the remaining images are renumbered."""
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


def drop_blank_texts(document: Document) -> Document:
    """Returns the document without texts that consist of white space only."""
    stay = [place for place, part in enumerate(document.parts) if isinstance(part, int) or part.strip()]
    return replace(
        document,
        parts=tuple(document.parts[place] for place in stay),
        roles=document.roles and tuple(document.roles[place] for place in stay),
    )


def _check_roles(roles: tuple[Role, ...], parts: int) -> None:
    if len(roles) != parts:
        raise ValueError(f"roles: {len(roles)} of {parts} parts")
    for number, role in enumerate(roles):
        if get_speaker(role) not in ROLES:
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
