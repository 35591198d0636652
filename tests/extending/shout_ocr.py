"""An OCR engine of a user's own, in one file: it shouts how large a picture is.

shardloom annotate ocr:shout --input 'shards/*.tar' --output annotations --trust-code shout_ocr:SHOUT
"""

from collections.abc import Sequence

from curation.engines.declaration import EngineDeclaration, OtherEngines
from curation.engines.kinds import OCR
from curation.images.decode import RgbImage
from schemas.errors import UsageError
from schemas.output_set.options import Options
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.text_line import TextLine


class ShoutSettings(Options):
    """How loud it is."""

    mark: str = "!"


class ShoutOcr:
    """An `OcrEngine`."""

    def __init__(self, settings: ShoutSettings) -> None:
        self.mark = settings.mark
        self.fingerprint = EngineFingerprint(
            name="shout", version="1", weights_sha256="", settings=settings.model_dump()
        )

    def annotate(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        """Returns one line an image."""
        box = (0.0, 0.0, 1.0, 1.0)
        polygon = (0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0)
        sizes = [f"{image.shape[1]} BY {image.shape[0]}{self.mark}" for image in images]
        return [[TextLine(size, polygon, box, 1.0)] for size in sizes]


def check(settings: ShoutSettings, _: OtherEngines) -> list[str]:
    """Refuses to whisper, and says how loud it will be."""
    if not settings.mark:
        raise UsageError("shout: mark is empty; pass at least one '!'")
    return [f"shout: every line ends in {settings.mark}"]


SHOUT = EngineDeclaration(name="shout", kind=OCR, settings=ShoutSettings, make=ShoutOcr, check=check)
