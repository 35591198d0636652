"""An interleaved document: texts and images in the order in which they are read; a text is one without images.

A conversation is a document that says of each part who speaks: a turn is a run of parts of one role.

`Document` is what a training shard holds. `Draft`, and `CaptionDraft` for a single image with its caption, are what the
reader of a published set makes of one row: their images may be addresses still, or lost.

Images are numbered in the order in which they are read, and each stands in the text once. So dropping an image can put
no other one in its place.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal

from schemas.json_text import MAX_JSON, parse_object
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
