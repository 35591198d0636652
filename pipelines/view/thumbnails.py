"""Makes pictures small enough for a page, as data URIs.

A picture is decoded by the rules that engines see it by and encoded anew, so nothing of the original file, which anyone
may have made, is in the page.
"""

import base64
import hashlib
import io
from collections.abc import Callable

from PIL import Image

from curation.images.decode import DecodeLimits, decode
from pipelines.view.page import Picture, Shape
from schemas.records.quarantine import Rejected

SIDES = (640, 512, 400, 300, 220, 160)
"""Pixels of the longer side, tried in this order until a picture fits its share of the page."""

QUALITY = 80  # of WebP; lines of text in a page of print stay legible at 640 pixels
PICTURES_SHARE = 0.8  # of the page's bytes; the rest is text
_MAX_SHARE = 160 << 10  # bytes of one picture, however few there are


class Thumbnails:
    """Makes the pictures of a page, each within its share of the bytes for all of them."""

    def __init__(self, max_bytes: int, pictures: int, is_late: Callable[[], bool] = lambda: False) -> None:
        """Takes the bytes of the page, and the number of pictures that are expected.

        No picture is made once `is_late` returns True: a document may have hundreds.
        """
        self._is_late = is_late
        self._left = int(max_bytes * PICTURES_SHARE)
        self._share = min(_MAX_SHARE, self._left // max(1, pictures))

    def make(
        self, data: bytes | None, title: str, sha256: str | None = None, shapes: tuple[Shape, ...] = ()
    ) -> Picture:
        """Returns a picture, or the reason why there is none. `sha256` is that of the set's image, if it is known."""
        if data is None:
            return Picture(fault="its image was not found", title=title)
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            return Picture(fault="its image has changed since the set was made", title=title)
        if self._is_late():
            return Picture(fault="left out: the time for the page was over", title=title)
        if self._left < self._share // 2:
            return Picture(fault="left out: the page has reached its size", title=title)
        try:
            picture = Image.fromarray(decode(data, DecodeLimits()))
        except Rejected as fault:
            return Picture(fault=f"no picture: {fault}", title=title)
        small, encoded = _fit(picture, self._share * 3 // 4)
        source = f"data:image/webp;base64,{base64.b64encode(encoded).decode()}"
        self._left -= len(source)
        return Picture(source, small.width, small.height, shapes, title=title)


def _fit(picture: Image.Image, most: int) -> tuple[Image.Image, bytes]:
    """Returns the largest of the thumbnails that has at most so many bytes, or else the smallest one."""
    for side in SIDES:
        small = picture
        if max(picture.size) > side:
            small = picture.copy()
            small.thumbnail((side, side), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        small.save(file, "WEBP", quality=QUALITY, method=2)
        if file.tell() <= most:
            break
        picture = small  # a smaller one is made from it, which is quicker
    return small, file.getvalue()
