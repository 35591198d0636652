"""Decodes the bytes of an image file to upright 8-bit RGB, or raises a `Rejected` that says why it cannot.

Annotations are made on the picture that `decode` returns, and their coordinates refer to it. Each case has one rule:

| in the file                          | result                                                                      |
|--------------------------------------|-----------------------------------------------------------------------------|
| EXIF (or XMP, irot/imir) orientation | applied, so that text is upright; an unreadable EXIF block is ignored       |
| palette                              | looked up                                                                   |
| transparency of any kind             | composited over white, the most common background of web pages              |
| greyscale, black and white           | repeated in the three channels                                              |
| CMYK, YCCK                           | Pillow's plain formula, Adobe's inversion undone; no ICC profile is applied |
| LAB                                  | converted to sRGB by littleCMS                                              |
| 16-bit (or 12-bit) grey              | scaled to 8 bit by its white level (plain conversion would clip it)         |
| 16-bit colour                        | the high byte of each sample                                                |
| 32-bit and floating-point samples    | `unsupported_format`: their white level is not standardised                 |
| animation, several pages or views    | the first frame                                                             |
| truncated or corrupt                 | `decode_error`, even where some or all of the pixels could be decoded       |
| more than 100 scans, endless decoding| `decode_error`: JPEG scans and CPU seconds are both limited                 |
| ICO, PSD, EPS, WMF, SVG, HEIC, ...   | `unsupported_format`, recognised by the first bytes and never decoded       |
| anything else, an empty file         | `not_an_image`                                                              |

ICO is refused because the sizes of the pictures inside are known only after they are decoded, and icons hold no text.
"""

import io
import logging
import re
import warnings
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field

from curation.cpu_limit import CpuLimitExceeded, run_within
from curation.images.jpeg_scans import MAX_SCANS, count_scans, has_too_many_scans
from curation.images.upright import ORIENTATION, find_turn, is_sideways
from schemas.errors import to_one_line
from schemas.records.quarantine import Reason, Rejected

T = TypeVar("T")

RgbImage = NDArray[np.uint8]
"""An array of height x width x 3, RGB, 0 to 255, C-contiguous; read-only, because all engines of a pass share it."""

ALLOWED_FORMATS = frozenset({"AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP"})

# The first bytes of each format. RIFF and ISO media boxes begin with their length, which the patterns skip.
_SIGNATURES: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"\xff\xd8\xff", "JPEG"),
        (rb"\x89PNG\r\n\x1a\n", "PNG"),
        (rb"GIF8[79]a", "GIF"),
        (rb"RIFF....WEBP", "WEBP"),
        # two reserved numbers, which should be zero; where they are not, the size of one of the known headers
        (rb"BM(?:....\0\0\0\0|.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0)", "BMP"),
        (rb"II[*+]\0|MM\0[*+]", "TIFF"),
        (rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
        (rb"P[1-6][\s#]", "PPM"),
        (rb"....ftyp(?:.{4}){0,12}?avi[fs]", "AVIF"),
        (rb"....ftyp(?:hei|hev|mif1|msf1)", "HEIC"),
        (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL"),
        (rb"\0\0[\x01\x02]\0(?!\0\0)", "ICO"),
        (rb"8BPS", "PSD"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "EPS"),
        (rb"\xd7\xcd\xc6\x9a\0\0", "WMF"),
        (rb"\x01\0\0\0.{36} EMF", "EMF"),
        (rb"\x01\xda[\0\x01][\x01\x02]", "SGI"),
        (rb"icns", "ICNS"),
        (rb"DDS ", "DDS"),
        (rb"qoif", "QOI"),
        (rb"gimp xcf", "XCF"),
        (rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml.*?<svg|<svg)", "SVG"),
        # TGA has no magic number: match the types of colour map and image, which must agree, and the bits per pixel
        (
            rb".(?:\0[\x02\x03\x0a\x0b]\0{5}|\x01[\x01\x02\x09\x0a].{4}[\x0f\x10\x18\x20])"
            rb".{8}[\x01\x08\x0f\x10\x18\x20]",
            "TGA",
        ),
    )
)
_SIGNATURE_BYTES = 1024  # bytes that a signature may need: an SVG's prologue is the longest

# Pillow warns about, and logs, every odd tag of a web picture; what matters is in the `Rejected`. Its warnings are
# silenced once, here, because `warnings.catch_warnings` is not thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


class DecodeLimits(BaseModel):
    """Sets the limits on what `decode` accepts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Phone cameras go up to 50 million. At 64 million a decode needs about 450 MB (4 bytes a pixel in Pillow, 3 in the
    # array). Pillow itself refuses anything above the upper bound.
    max_pixels: int = Field(default=64_000_000, gt=0, le=178_956_970)

    @property
    def max_seconds(self) -> float:
        """Returns the CPU seconds that one image may take: at least 30, or 0.5 s for each million of `max_pixels`.

        That is twice what JPEG 2000, the slowest format, takes: 0.25 s for each million pixels.
        """
        return max(30.0, self.max_pixels / 2_000_000)


def decode(data: bytes, limits: DecodeLimits) -> RgbImage:
    """Decodes `data` by the rules above. Raises nothing but `Rejected` (and `MemoryError`)."""

    def read_upright_pixels(image: Image.Image) -> RgbImage:
        _load(image, limits)
        upright = find_turn(image)
        rgb = _to_rgb(image)
        return np.asarray(rgb if upright is None else rgb.transpose(upright))

    return _apply_to_image(data, limits, read_upright_pixels)


def decode_size(data: bytes, limits: DecodeLimits) -> tuple[int, int]:
    """Returns the width and height in pixels of the picture that `decode` returns, and raises what `decode` raises.

    It decodes the pixels but makes no array, which saves a sixth of the time.
    """

    def load_size(image: Image.Image) -> tuple[int, int]:
        _load(image, limits)
        if image.mode != "RGB":
            _to_rgb(image)
        return _get_upright_size(image)

    return _apply_to_image(data, limits, load_size)


def read_image_size(data: bytes, limits: DecodeLimits) -> tuple[int, int]:
    """Reads from the header alone the width and height that `decode` would return: the pixels may still be corrupt."""
    return _apply_to_image(data, limits, _get_upright_size)


def _load(image: Image.Image, limits: DecodeLimits) -> None:
    image.load()
    _check_size(image, limits)


def _get_upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    # Pillow swaps a TIFF's sides by the TIFF's own tag on opening, and its pixels on loading. XMP is read later.
    is_turned = image.format == "TIFF" and ORIENTATION in getattr(image, "tag_v2", {})
    return (height, width) if not is_turned and is_sideways(image) else (width, height)


def _apply_to_image(data: bytes, limits: DecodeLimits, read: Callable[[Image.Image], T]) -> T:
    """Returns the result of `read` on the opened image, whose header is read. Turns every failure into `Rejected`."""
    kind = _detect_format(data)
    if kind is None:
        raise Rejected(Reason.NOT_AN_IMAGE, f"{len(data)} bytes that begin as no image format does")
    if kind not in ALLOWED_FORMATS:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, kind)
    if kind == "JPEG" and has_too_many_scans(data):
        raise Rejected(Reason.DECODE_ERROR, f"JPEG: {count_scans(data)} scans, the limit is {MAX_SCANS}")

    def open_and_read() -> T:
        with Image.open(io.BytesIO(data), formats=[kind]) as image:
            _check_size(image, limits)
            return read(image)

    try:
        return run_within(limits.max_seconds, open_and_read)
    except (Rejected, MemoryError):
        raise
    except CpuLimitExceeded as error:
        raise Rejected(Reason.DECODE_ERROR, f"{kind}: {error}") from None
    except Image.DecompressionBombError as error:
        raise Rejected(Reason.TOO_MANY_PIXELS, _format_error(error)) from None
    except UnidentifiedImageError:  # its message contains a memory address
        raise Rejected(Reason.DECODE_ERROR, f"{kind}: its header makes no sense") from None
    except Exception as error:  # noqa: BLE001 - Pillow's plugins raise any exception on unexpected bytes
        raise Rejected(Reason.DECODE_ERROR, f"{kind}: {_format_error(error)}") from None


def _detect_format(data: bytes) -> str | None:
    head = data[:_SIGNATURE_BYTES]
    return next((kind for signature, kind in _SIGNATURES if signature.match(head)), None)


def _check_size(image: Image.Image, limits: DecodeLimits) -> None:
    """Checks the size that the header claims, and again after loading, when a few formats turn out larger."""
    width, height = image.size
    if width < 1 or height < 1:
        raise Rejected(Reason.DECODE_ERROR, f"{image.format}: {width} x {height} pixels")
    tags = getattr(image, "tag_v2", {})  # a TIFF is decoded by tiles, which may be larger than the picture
    tile = int(tags.get(322, 0)) * int(tags.get(323, 0))
    if width * height > limits.max_pixels or tile > limits.max_pixels:
        what = f"{width} x {height} pixels" if width * height >= tile else f"tiles of {tile} pixels"
        raise Rejected(Reason.TOO_MANY_PIXELS, f"{what}, the limit is {limits.max_pixels}")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey_to_rgb(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":  # premultiplied alpha, which Pillow converts only to LA
        image = image.convert("LA")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _deep_grey_to_rgb(image: Image.Image) -> Image.Image:
    """Scales grey of more than 8 bits so that its white is 255, rounding to the nearest value."""
    tags = getattr(image, "tag_v2", {})
    if not (image.mode.startswith("I;16") or (image.format == "PPM" and image.mode == "I")):
        raise Rejected(Reason.UNSUPPORTED_FORMAT, f"{image.format} with samples of mode {image.mode}")
    white = 4095 if tags.get(258) == (12,) else 65535  # BitsPerSample; Pillow leaves 12-bit samples as they are
    values = np.asarray(image).astype(np.uint32)
    grey = ((values * 255 + white // 2) // white).astype(np.uint8)
    if tags.get(262) == 0:  # PhotometricInterpretation: white is zero; Pillow undoes this for 8 bits only
        grey = 255 - grey
    clear = image.info.get("transparency")  # PNG: the one grey value that is fully transparent
    if isinstance(clear, int):
        grey[values == clear] = 255
    return Image.fromarray(grey).convert("RGB")


def _format_error(error: Exception) -> str:
    """Returns the message in ASCII, without line breaks or memory addresses, to be the same on every machine."""
    text = re.sub(r" at 0x[0-9A-Fa-f]+", "", f"{type(error).__name__}: {error}")
    if not str(error).strip():
        text = f"its data makes no sense to the decoder ({type(error).__name__})"
    return to_one_line(text.encode("ascii", "backslashreplace").decode(), limit=200)
