"""Extracts the frames of a multi-frame TIFF, each as an image file of its own.

MINT-1T stores all the images of a PDF or paper in one TIFF. A frame that contains JPEG streams becomes a JPEG of the
same codes if that shows the same pixels, otherwise a PNG: no frame is re-encoded with a loss. A frame that cannot be
read is returned as `Rejected`, and its neighbours are still read.
"""

import io
import struct
from collections.abc import Sequence

import numpy as np
from PIL import Image

from curation.images.decode import DecodeLimits, RgbImage, decode, read_image_size
from curation.sources.formats import jpeg_strips
from schemas.records.quarantine import Reason, Rejected

MAX_FRAMES = 1000  # per file; a document has up to 50 pages with dozens of images
MAX_FULL = 8  # total pixels of all frames, in multiples of `limits.max_pixels`: 50 pages scanned at 300 dpi

_JPEG = 7  # TIFF's Compression
_EXACT = ("1", "L", "LA", "P", "RGBA")  # modes that PNG stores exactly, and RGB does not

# first four bytes of a file -> byte order, and whether its numbers are those of BigTIFF
_KINDS = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
_TABLES, _OFFSETS, _SIZES, _PHOTOMETRIC, _COMPRESSION = 347, 273, 279, 262, 259  # TIFF's tags


def find_frame_links(data: bytes) -> list[bytes]:
    """Returns the link (packed offset) to each frame, in order. Raises `Rejected` if the data is not TIFF."""
    order, is_big = _KINDS.get(data[:4], ("", False))
    if not order:
        raise Rejected(Reason.NOT_AN_IMAGE, f"{len(data)} bytes that do not begin as a TIFF does")
    place, link, count, entry = (8, f"{order}Q", f"{order}Q", 20) if is_big else (4, f"{order}I", f"{order}H", 12)
    found: list[bytes] = []
    seen: set[int] = set()
    try:
        offset = struct.unpack_from(link, data, place)[0]
        while offset and offset not in seen:
            if len(seen) == MAX_FRAMES:
                raise Rejected(Reason.DECODE_ERROR, f"a TIFF of more than {MAX_FRAMES} frames")
            seen.add(offset)
            found.append(struct.pack(link, offset))
            entries = struct.unpack_from(count, data, offset)[0]
            offset = struct.unpack_from(link, data, offset + struct.calcsize(count) + entries * entry)[0]
    except (struct.error, OverflowError):
        found = found or [b""]  # the file is truncated: reading the last frame reports it
    return found


def extract_frames(data: bytes, links: Sequence[bytes], limits: DecodeLimits) -> list[bytes | Rejected]:
    """Returns the frames at these links, each as the bytes of a JPEG or PNG file, or why it cannot be read.

    Frames may share pixel data, so a small file may contain any number of them: their total pixels are limited.
    """
    found: list[bytes | Rejected] = []
    left = MAX_FULL * limits.max_pixels
    for link in links:
        single = _isolate_frame(data, link)
        try:
            width, height = read_image_size(single, limits)
            left -= width * height
            if left < 0:
                most = MAX_FULL * limits.max_pixels
                raise Rejected(Reason.TOO_MANY_PIXELS, f"the frames up to it have more than {most} pixels together")
            found.append(_convert_frame(single, limits))
        except Rejected as fault:
            found.append(fault)
    return found


def read_frame_size(data: bytes, link: bytes, limits: DecodeLimits) -> tuple[int, int] | None:
    """Returns the width and height of the frame at a link, in pixels; None if its header cannot be read."""
    try:
        return read_image_size(_isolate_frame(data, link), limits)
    except Rejected:
        return None


def _isolate_frame(data: bytes, link: bytes) -> bytes:
    """Returns a copy of the file whose first frame is this one."""
    place = 8 if _KINDS[data[:4]][1] else 4
    return data[:place] + link + data[place + len(link) :]


def _convert_frame(single: bytes, limits: DecodeLimits) -> bytes:
    pixels = decode(single, limits)
    with Image.open(io.BytesIO(single), formats=["TIFF"]) as image:
        if image.tag_v2.get(_COMPRESSION) == _JPEG:  # type: ignore[attr-defined]
            jpeg = _build_jpeg(single, image)
            if jpeg is not None and _has_same_pixels(jpeg, pixels, limits):
                return jpeg
        file = io.BytesIO()
        (image if image.mode in _EXACT else Image.fromarray(pixels)).save(file, "PNG")
        return file.getvalue()


def _build_jpeg(single: bytes, image: Image.Image) -> bytes | None:
    tags = image.tag_v2  # type: ignore[attr-defined]
    offsets, sizes = tags.get(_OFFSETS, ()), tags.get(_SIZES, ())
    if len(offsets) != len(sizes):
        return None
    strips = [single[offset : offset + size] for offset, size in zip(offsets, sizes, strict=True)]
    return jpeg_strips.join_strips(tags.get(_TABLES, b""), strips, image.size[1], tags.get(_PHOTOMETRIC, 0))


def _has_same_pixels(jpeg: bytes, pixels: RgbImage, limits: DecodeLimits) -> bool:
    try:
        return np.array_equal(decode(jpeg, limits), pixels)
    except Rejected:
        return False
