"""From drafts to what is stored: images measured and checked, filters applied, all that is left out counted.

A draft's addresses must have been looked up by now: one that is still there is a lost image. Repeats over a whole
corpus need all of it, and are found elsewhere, by `DocumentImage.sha256` or by `perceptual_hash`.
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

from curation.images.decode import DecodeLimits, RgbImage, decoded_size, image_size
from curation.images.filters import ImageFilters, image_fault
from schemas.records.document import (
    EXTENSIONS,
    CaptionDraft,
    Document,
    DocumentImage,
    Draft,
    DraftImage,
    without_blanks,
    without_images,
)
from schemas.records.quarantine import Reason, Rejected
from schemas.records.training_shard import CaptionedImage

Policy = Literal["drop_image", "drop_document"]


class DocumentFilters(BaseModel):
    """Which documents and images are left out. None switches a filter off.

    The published sets were filtered by their makers, on images that were larger than most stores keep them: the
    defaults only leave out what would harm.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Texts belong to a mixture, and a paper whose figures are lost is one.
    min_images: int | None = Field(default=None, ge=0)
    # As OBELICS and MINT-1T have it: above it, pages are galleries and catalogues.
    max_images: int | None = Field(default=30, ge=0)
    min_characters: int | None = Field(default=None, ge=0)  # images without text are rare, and say little, but no harm
    # A long book has 2 million; beyond it lie dumps of logs and tables, which one tokenizer call should not meet.
    max_characters: int | None = Field(default=4_000_000, ge=0)
    # As for annotation: spacers, bullets, rulers.
    image: ImageFilters = ImageFilters()
    # A bullet more or less changes no document.
    filtered_image: Policy = "drop_image"
    # A third of the web's images are gone after a year: with `drop_document` hardly a long document would be left.
    lost_image: Policy = "drop_image"
    # Logos and banners that come back on a page; the first stays. "keep" is for texts that refer to their figures.
    repeated_image: Policy | Literal["keep"] = "drop_image"
    # A picture that is cut short would be found by the trainer instead; 2 ms for one of 512 pixels.
    decode_images: bool = True

    @model_validator(mode="after")
    def _check_bounds(self) -> "DocumentFilters":
        for least, most in (("min_images", "max_images"), ("min_characters", "max_characters")):
            low, high = getattr(self, least), getattr(self, most)
            if low is not None and high is not None and low > high:
                raise ValueError(f"{least} is {low}, {most} only {high}")
        return self


@dataclass(frozen=True, slots=True)
class Filtered:
    """What is stored of a document, and how many of its images are not, by reason."""

    document: Document
    dropped: Counter[Reason]


def filtered(draft: Draft, key: str, source: str, filters: DocumentFilters, limits: DecodeLimits) -> Filtered:
    """The document of this key and data set. Raises `Rejected`: the first filter that leaves it out as a whole."""
    if draft.roles is not None:  # what is answered hangs on every image, and may be about one twice
        filters = filters.model_copy(update=_OF_CONVERSATIONS)
    faults: dict[int, Rejected] = {}
    images: list[DocumentImage] = []
    seen: dict[str, int] = {}
    for number, drafted in enumerate(draft.images):
        image, fault, policy = _judged(drafted, seen, number, filters, limits)
        if fault is not None:
            if fault.reason is Reason.REPEATED_IMAGE:  # found over the whole input: it is there, so it is not lost
                policy = "drop_image" if draft.roles is None else "drop_document"
            if policy == "drop_document":
                raise Rejected(fault.reason, f"image {number}: {fault.detail}")
            faults[number] = fault
        images.append(image)
    url, uid = draft.url or None, draft.uid or None
    whole = Document(key, uid, source, url, draft.parts, tuple(images), draft.metadata, draft.roles)
    document = without_blanks(without_images(whole, faults.keys()))
    if not document.parts:
        raise Rejected(Reason.EMPTY_DOCUMENT, f"no text, and none of {len(images)} images is left")
    _check(document, filters)
    return Filtered(document, Counter(fault.reason for fault in faults.values()))


def captioned(
    draft: CaptionDraft,
    key: str,
    source_shard: str,
    source_key: str,
    filters: DocumentFilters,
    limits: DecodeLimits,
) -> CaptionedImage:
    """The captioned image of this key, made of this item of this input. Raises `Rejected`: why it is left out.

    Of the filters, those of images and text are applied.
    """
    image = measured(draft.image, filters, limits)
    fault = image_fault(image.width, image.height, filters.image)
    if fault is not None:
        raise fault
    _check_length(len(draft.text), filters)
    return CaptionedImage(
        key=key,
        uid=draft.uid or "",
        url=draft.url or "",
        source_shard=source_shard,
        source_key=source_key,
        width=image.width,
        height=image.height,
        sha256=image.sha256,
        alt_text=draft.alt_text,
        text=draft.text,
        captions=draft.captions,
        metadata=draft.metadata,
        extension=image.extension,
        image=image.data,
    )


def measured(drafted: DraftImage, filters: DocumentFilters, limits: DecodeLimits) -> DocumentImage:
    """The image with its format, size and hash. Raises `Rejected`: it is lost, or none that can be decoded."""
    data = drafted.source
    if isinstance(data, Rejected):
        raise data
    if isinstance(data, str):
        raise Rejected(Reason.LOST_IMAGE, f"{data[:200]} is in no store")
    width, height = (decoded_size if filters.decode_images else image_size)(data, limits)
    return DocumentImage(
        data, extension_of(data), width, height, hashlib.sha256(data).hexdigest(), drafted.url, drafted.metadata
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


def extension_of(data: bytes) -> str:
    """What the file of an image that `decode` takes is called, whatever its address says it is."""
    return next(extension for start, extension in _EXTENSIONS if start.match(data))


def stored_extension(ending: str, data: bytes) -> str:
    """What an image that `decode` takes is called in a training shard: as it was, where that is a usual name."""
    usual = {"jpeg": "jpg", "tiff": "tif"}.get(ending, ending)
    return usual if usual in EXTENSIONS else extension_of(data)


def perceptual_hash(image: RgbImage) -> int:
    """64 bits that stay alike when a picture is resized or compressed anew; see `hamming`.

    A bit each for the 64 lowest frequencies of the grey picture at 32 x 32, row by row from the highest bit: whether it
    is above their median. In whole numbers, so that it is the same on every machine.
    """
    grey = np.asarray(Image.fromarray(image).convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=np.int64)
    waves = _cosines()
    low = (waves @ grey @ waves.T).ravel()
    above = 2 * low > np.sort(low)[31:33].sum()
    return int.from_bytes(np.packbits(above).tobytes(), "big")


def hamming(one: int, other: int) -> int:
    """In how many of the 64 bits two hashes differ: up to about 8 for one picture, some 32 for two."""
    return (one ^ other).bit_count()


@cache
def _cosines() -> NDArray[np.int64]:
    """The 8 lowest waves of the DCT-II of 32 points, times 2 ** 14."""
    waves = np.cos(np.pi * np.outer(np.arange(8), 2 * np.arange(32) + 1) / 64)
    return np.asarray(np.rint(waves * (1 << 14)), dtype=np.int64)


_OF_CONVERSATIONS = {"filtered_image": "drop_document", "lost_image": "drop_document", "repeated_image": "keep"}
_NO_IMAGE = DocumentImage(b"", "", 0, 0, "", None, "{}")


def _judged(
    drafted: DraftImage, seen: dict[str, int], number: int, filters: DocumentFilters, limits: DecodeLimits
) -> tuple[DocumentImage, Rejected | None, str]:
    """The image, and what is against it, if anything is, with what to do about it."""
    try:
        image = measured(drafted, filters, limits)
    except Rejected as loss:
        return _NO_IMAGE, loss, filters.lost_image
    fault = image_fault(image.width, image.height, filters.image)
    if fault is not None:
        return image, fault, filters.filtered_image
    first = seen.setdefault(image.sha256, number)
    if first != number and filters.repeated_image != "keep":
        return image, Rejected(Reason.REPEATED_IMAGE_IN_DOCUMENT, f"the same as image {first}"), filters.repeated_image
    return image, None, ""


def _check(document: Document, filters: DocumentFilters) -> None:
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
