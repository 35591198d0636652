"""Turns parsed documents into what is stored: measures and checks images, applies filters, counts all that is left out.

Image addresses must have been resolved before: an address that remains is a lost image. Repeats over a whole corpus are
found elsewhere, because that needs the whole corpus: by `DocumentImage.sha256` or by `compute_perceptual_hash`.
"""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from curation.images.decode import DecodeLimits, RgbImage, decode_size, read_image_size
from curation.images.filters import ImageFilters, find_image_fault
from schemas.records.captioned_image import CaptionedImage
from schemas.records.document import (
    EXTENSIONS,
    Document,
    DocumentImage,
    ParsedCaptionedImage,
    ParsedDocument,
    ParsedImage,
    drop_blank_texts,
    drop_images,
)
from schemas.records.quarantine import Reason, Rejected

Policy = Literal["drop_image", "drop_document"]


class DocumentFilters(BaseModel):
    """Says which documents and images are left out. None switches a filter off.

    The makers of the published sets have already filtered them, on images larger than most stores keep: the defaults
    leave out only what would harm.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # No minimum: mixtures contain texts without images, and a paper that has lost its figures is such a text.
    min_images: int | None = Field(default=None, ge=0)
    # The limit of OBELICS and MINT-1T: pages with more images are galleries and catalogues.
    max_images: int | None = Field(default=30, ge=0)
    min_characters: int | None = Field(default=None, ge=0)  # images without text are rare and harmless
    # A long book has 2 million. Longer texts are dumps of logs and tables, too long for one call of the tokenizer.
    max_characters: int | None = Field(default=4_000_000, ge=0)
    # The same filters as for annotation: they leave out spacers, bullets and rulers.
    image: ImageFilters = ImageFilters()
    # Dropping a bullet does not change a document.
    filtered_image: Policy = "drop_image"
    # A third of the web's images no longer exist after a year: `drop_document` would leave hardly any long document.
    lost_image: Policy = "drop_image"
    # Drops logos and banners that are repeated on a page; the first stays. "keep" is for texts that refer to their
    # figures.
    repeated_image: Policy | Literal["keep"] = "drop_image"
    # Without it only the trainer would find truncated pictures. Takes 2 ms for a picture of 512 pixels.
    decode_images: bool = True

    @model_validator(mode="after")
    def _check_bounds(self) -> "DocumentFilters":
        for least, most in (("min_images", "max_images"), ("min_characters", "max_characters")):
            low, high = getattr(self, least), getattr(self, most)
            if low is not None and high is not None and low > high:
                raise ValueError(f"{least} is {low}, more than {most}, which is {high}")
        return self


@dataclass(frozen=True, slots=True)
class FilteredDocument:
    """Holds what is stored of a document, and the number of its images that are not, by reason."""

    document: Document
    dropped: Counter[Reason]


def filter_document(
    parsed: ParsedDocument, key: str, source: str, filters: DocumentFilters, limits: DecodeLimits
) -> FilteredDocument:
    """Returns the document with this key and data set. Raises `Rejected` with the reason to leave it out as a whole."""
    if parsed.roles is not None:  # the answers depend on every image, and may refer to one twice
        filters = filters.model_copy(update=_OF_CONVERSATIONS)
    faults: dict[int, Rejected] = {}
    images: list[DocumentImage] = []
    seen: dict[str, int] = {}
    for number, parsed_image in enumerate(parsed.images):
        image, fault, policy = _check_image(parsed_image, seen, number, filters, limits)
        if fault is not None:
            if fault.reason is Reason.REPEATED_IMAGE:  # found over the whole input; the image exists, so it is not lost
                policy = "drop_image" if parsed.roles is None else "drop_document"
            if policy == "drop_document":
                raise Rejected(fault.reason, f"image {number}: {fault.detail}")
            faults[number] = fault
        images.append(image)
    url, uid = parsed.url or None, parsed.uid or None
    whole = Document(key, uid, source, url, parsed.parts, tuple(images), parsed.metadata, parsed.roles)
    document = drop_blank_texts(drop_images(whole, faults.keys()))
    if not document.parts:
        raise Rejected(Reason.EMPTY_DOCUMENT, f"no text, and none of {len(images)} images is left")
    _check_document(document, filters)
    return FilteredDocument(document, Counter(fault.reason for fault in faults.values()))


def build_captioned_image(
    parsed: ParsedCaptionedImage,
    key: str,
    source_shard: str,
    source_key: str,
    filters: DocumentFilters,
    limits: DecodeLimits,
) -> CaptionedImage:
    """Returns the captioned image with this key, made of one item of one input. Raises `Rejected` if it is left out.

    Applies only the filters on images and on text length.
    """
    image = measure_image(parsed.image, filters, limits)
    fault = find_image_fault(image.width, image.height, filters.image)
    if fault is not None:
        raise fault
    _check_length(len(parsed.text), filters)
    return CaptionedImage(
        key=key,
        uid=parsed.uid or "",
        url=parsed.url or "",
        source_shard=source_shard,
        source_key=source_key,
        width=image.width,
        height=image.height,
        sha256=image.sha256,
        alt_text=parsed.alt_text,
        text=parsed.text,
        captions=parsed.captions,
        metadata=parsed.metadata,
        extension=image.extension,
        image=image.data,
    )


def measure_image(parsed: ParsedImage, filters: DocumentFilters, limits: DecodeLimits) -> DocumentImage:
    """Returns the image with its format, size and hash. Raises `Rejected` if it is lost or cannot be decoded."""
    data = parsed.source
    if isinstance(data, Rejected):
        raise data
    if isinstance(data, str):
        raise Rejected(Reason.LOST_IMAGE, f"{data[:200]} is in no store")
    width, height = (decode_size if filters.decode_images else read_image_size)(data, limits)
    return DocumentImage(
        data, detect_extension(data), width, height, hashlib.sha256(data).hexdigest(), parsed.url, parsed.metadata
    )


_EXTENSIONS = tuple(
    (re.compile(pattern, re.DOTALL), extension)
    for pattern, extension in (
        (rb"\xff\xd8", "jpg"),
        (rb"\x89PNG", "png"),
        (rb"GIF8", "gif"),
        (rb"RIFF....WEBP", "webp"),
        (rb"BM", "bmp"),
        (rb"II[*+]|MM\0[*+]", "tif"),
        (rb"\xff\x4f|\0\0\0\x0cjP", "jp2"),
        (rb"P[1-6]", "ppm"),
        (rb"....ftyp", "avif"),
    )
)


def detect_extension(data: bytes) -> str:
    """Returns the file extension of an image that `decode` accepts, by its first bytes and not by its address."""
    return next(extension for start, extension in _EXTENSIONS if start.match(data))


def choose_stored_extension(ending: str, data: bytes) -> str:
    """Returns an image's extension in a training shard: `ending` if that is usual, else by its first bytes."""
    usual = {"jpeg": "jpg", "tiff": "tif"}.get(ending, ending)
    return usual if usual in EXTENSIONS else detect_extension(data)


def compute_perceptual_hash(image: RgbImage) -> int:
    """Computes a DCT perceptual hash: 64 bits that change little when a picture is resized or recompressed.

    Each bit says whether one of the 64 lowest frequencies of the grey picture at 32 x 32 is above their median, row by
    row from the highest bit. The arithmetic is in integers, so the hash is the same on every machine. See
    `compute_hamming_distance`.
    """
    grey = np.asarray(Image.fromarray(image).convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=np.int64)
    waves = _build_dct_basis()
    low = (waves @ grey @ waves.T).ravel()
    above = 2 * low > np.sort(low)[31:33].sum()
    return int.from_bytes(np.packbits(above).tobytes(), "big")


def compute_hamming_distance(one: int, other: int) -> int:
    """Returns the number of bits in which two hashes differ: up to about 8 for one picture, some 32 for two."""
    return (one ^ other).bit_count()


@cache
def _build_dct_basis() -> NDArray[np.int64]:
    """Returns the 8 lowest waves of the DCT-II of 32 points, times 2 ** 14."""
    waves = np.cos(np.pi * np.outer(np.arange(8), 2 * np.arange(32) + 1) / 64)
    return np.asarray(np.rint(waves * (1 << 14)), dtype=np.int64)


_OF_CONVERSATIONS = {"filtered_image": "drop_document", "lost_image": "drop_document", "repeated_image": "keep"}
_NO_IMAGE = DocumentImage(b"", "", 0, 0, "", None, "{}")


def _check_image(
    parsed: ParsedImage, seen: dict[str, int], number: int, filters: DocumentFilters, limits: DecodeLimits
) -> tuple[DocumentImage, Rejected | None, str]:
    """Returns the image, the reason against it or None, and the policy that applies then."""
    try:
        image = measure_image(parsed, filters, limits)
    except Rejected as loss:
        return _NO_IMAGE, loss, filters.lost_image
    fault = find_image_fault(image.width, image.height, filters.image)
    if fault is not None:
        return image, fault, filters.filtered_image
    first = seen.setdefault(image.sha256, number)
    if first != number and filters.repeated_image != "keep":
        return image, Rejected(Reason.REPEATED_IMAGE_IN_DOCUMENT, f"the same as image {first}"), filters.repeated_image
    return image, None, ""


def _check_document(document: Document, filters: DocumentFilters) -> None:
    images = len(document.images)
    if filters.min_images is not None and images < filters.min_images:
        raise Rejected(Reason.TOO_FEW_IMAGES, f"{images} images, the least is {filters.min_images}")
    if filters.max_images is not None and images > filters.max_images:
        raise Rejected(Reason.TOO_MANY_IMAGES, f"{images} images, the most is {filters.max_images}")
    _check_length(sum(len(part) for part in document.parts if isinstance(part, str)), filters)


def _check_length(characters: int, filters: DocumentFilters) -> None:
    if filters.min_characters is not None and characters < filters.min_characters:
        raise Rejected(Reason.TOO_SHORT, f"{characters} characters, the least is {filters.min_characters}")
    if filters.max_characters is not None and characters > filters.max_characters:
        raise Rejected(Reason.TOO_LONG, f"{characters} characters, the most is {filters.max_characters}")
