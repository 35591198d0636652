"""The frames of a multi-frame TIFF, each as an image file of its own.

MINT-1T keeps all the images of a PDF or paper in one TIFF. A frame that holds JPEG streams becomes a JPEG of the same
codes where that shows the same pixels, and a PNG otherwise: no frame is coded anew with a loss. A frame that can't be
read is told as such, and its neighbours are read all the same.
"""

import io
import struct
from collections.abc import Iterator

import numpy as np
from PIL import Image

from curation.decode import DecodeLimits, RgbImage, decode
from curation.sources import jpeg_strips
from schemas.quarantine import Reason, Rejected

MAX_FRAMES = 1000  # of one file; a document has up to 50 pages, and images on them by the dozen

_JPEG = 7  # TIFF's Compression
_EXACT = ("1", "L", "LA", "P", "RGBA")  # modes that PNG holds as they are, and RGB does not

_TABLES, _OFFSETS, _SIZES, _PHOTOMETRIC, _COMPRESSION = 347, 273, 279, 262, 259  # TIFF's tags


def frames(data: bytes, limits: DecodeLimits) -> list[bytes | Rejected]:
    """Each frame as the bytes of a JPEG or PNG file, or why it can't be had. Raises `Rejected`: this is no TIFF."""
    return [_frame(single, limits) for single in _singles(data)]


def _singles(data: bytes) -> Iterator[bytes]:
    """The file once for each frame, as one that begins with it: one at a time, for the file may be large."""
    order, is_big = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}.get(
        data[:4], ("", False)
    )
    if not order:
        raise Rejected(Reason.NOT_AN_IMAGE, f"{len(data)} bytes that do not begin as a TIFF does")
    place, link, count, entry = (8, f"{order}Q", f"{order}Q", 20) if is_big else (4, f"{order}I", f"{order}H", 12)
    links: list[bytes] = []
    seen: set[int] = set()
    try:
        offset = struct.unpack_from(link, data, place)[0]
        while offset and offset not in seen:
            if len(seen) == MAX_FRAMES:
                raise Rejected(Reason.DECODE_ERROR, f"a TIFF of more than {MAX_FRAMES} frames")
            seen.add(offset)
            links.append(struct.pack(link, offset))
            entries = struct.unpack_from(count, data, offset)[0]
            offset = struct.unpack_from(link, data, offset + struct.calcsize(count) + entries * entry)[0]
    except struct.error:
        links = links or [b""]  # an end that comes early: the last frame's own reading will tell
    for own in links:
        yield data[:place] + own + data[place + len(own) :]


def _frame(single: bytes, limits: DecodeLimits) -> bytes | Rejected:
    try:
        pixels = decode(single, limits)
    except Rejected as fault:
        return fault
    with Image.open(io.BytesIO(single), formats=["TIFF"]) as image:
        if image.tag_v2.get(_COMPRESSION) == _JPEG:  # type: ignore[attr-defined]
            jpeg = _jpeg(single, image)
            if jpeg is not None and _shows(jpeg, pixels, limits):
                return jpeg
        file = io.BytesIO()
        (image if image.mode in _EXACT else Image.fromarray(pixels)).save(file, "PNG")
        return file.getvalue()


def _jpeg(single: bytes, image: Image.Image) -> bytes | None:
    tags = image.tag_v2  # type: ignore[attr-defined]
    places = zip(tags.get(_OFFSETS, ()), tags.get(_SIZES, ()), strict=False)
    strips = [single[offset : offset + size] for offset, size in places]
    return jpeg_strips.joined(tags.get(_TABLES, b""), strips, image.size[1], tags.get(_PHOTOMETRIC, 0))


def _shows(jpeg: bytes, pixels: RgbImage, limits: DecodeLimits) -> bool:
    try:
        return np.array_equal(decode(jpeg, limits), pixels)
    except Rejected:
        return False
