"""Cuts the part of an image that a span came from."""

import io

from PIL import Image

from curation.images.decode import DecodeLimits, decode
from pipelines.explain.origin import Explanation, Pixels
from schemas.errors import ShardloomError, UsageError
from schemas.records.quarantine import Rejected
from schemas.storage.folder import split_path

ENDING = ".png"


def cut_crop(image: bytes, place: Pixels) -> Image.Image:
    """Returns the part of an image at a place, by the rules that engines see it by. Raises `Rejected`."""
    return Image.fromarray(decode(image, DecodeLimits())).crop(place)


def write_crop(found: Explanation, path: str) -> None:
    """Writes the crop of the only span as a PNG file. Raises `UsageError` for several spans, or one without a place."""
    if not path.endswith(ENDING):
        raise UsageError(f"--crop {path}: a crop is a file that ends with {ENDING}")
    places = {span.pixels for span in found.spans} - {None}
    if len(places) != 1 or found.image is None:
        fault = f"{len(places)} places" if places else "no place"
        raise UsageError(f"--crop: the spans have {fault} in the image: choose one that has with --span")
    (place,) = places
    assert place is not None, "those without a place are left out"
    try:
        crop = cut_crop(found.image, place)
    except Rejected as fault:
        raise ShardloomError(f"{found.key}: its image cannot be decoded: {fault}") from None
    file = io.BytesIO()
    crop.save(file, "PNG")
    folder, name = split_path(path)
    folder.write(name, file.getvalue())
