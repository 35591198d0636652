"""Cuts the part of an image that a span came from: of a line of text, what the recogniser has read."""

import io

from PIL import Image

from curation.images.decode import DecodeLimits, decode
from pipelines.explain.detections import OCR
from pipelines.explain.origin import Detection, Explanation
from schemas.errors import ShardloomError, UsageError
from schemas.extras import require_extra
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.quarantine import Rejected
from schemas.storage.folder import split_path

ENDING = ".png"


def cut_crop(image: bytes, found: Detection, engine: EngineFingerprint | None) -> Image.Image:
    """Returns the part of an image that a detection with a place is of, by the rules that engines see the image by.

    A line of text whose `engine` is known is straightened as the engine's recogniser has read it. Anything else is the
    rectangle around it. Raises `Rejected` for an image that cannot be decoded, and `UsageError` where the library that
    straightens lines is not installed.
    """
    picture = decode(image, DecodeLimits())
    if found.column != OCR or engine is None:
        return Image.fromarray(picture).crop(found.pixels)
    require_extra("ocr", "--crop of a line of text")
    from curation.engines.ocr.runtime.line_crops import LARGEST, cut_line

    side = engine.settings.get("max_side")
    return Image.fromarray(cut_line(picture, found.outline, side if isinstance(side, int) else LARGEST))


def write_crop(found: Explanation, path: str) -> None:
    """Writes the crop of the only span as a PNG file. Raises `UsageError` for several places, for none and no image."""
    if not path.endswith(ENDING):
        raise UsageError(f"--crop {path}: a crop is a file that ends with {ENDING}")
    if found.image is None:
        raise UsageError(f"--crop: {found.key} is not a sample of one image")
    places = {span.place for span in found.spans} - {None}
    if len(places) != 1:
        fault = f"{len(places)} places" if places else "no place"
        raise UsageError(f"--crop: the spans have {fault} in the image: choose one that has with --span")
    (place,) = places
    assert place is not None, "those without a place are left out"
    try:
        crop = cut_crop(found.image, place, found.engines.get(place.stage))
    except Rejected as fault:
        raise ShardloomError(f"{found.key}: its image cannot be decoded: {fault}") from None
    file = io.BytesIO()
    crop.save(file, "PNG")
    folder, name = split_path(path)
    folder.write(name, file.getvalue())
