"""Turns a picture as the orientation in its EXIF says, so that text is upright."""

from PIL import Image

ORIENTATION = 0x0112  # the EXIF tag

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)


def find_turn(image: Image.Image) -> Image.Transpose | None:
    """Returns how a loaded image is turned upright; None where it is already."""
    return _TURNS.get(_read_orientation(image))


def is_sideways(image: Image.Image) -> bool:
    """Returns whether turning the image upright swaps its sides."""
    return _read_orientation(image) in _SIDEWAYS


def turn_upright(image: Image.Image) -> Image.Image:
    """Returns the image upright; itself if it is already."""
    image.load()  # which turns a TIFF
    turn = find_turn(image)
    return image if turn is None else image.transpose(turn)


def _read_orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation (1 to 8), or 1 if the image has none or its EXIF block is broken."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - a bad EXIF block is no reason to lose good pixels
        return 1
