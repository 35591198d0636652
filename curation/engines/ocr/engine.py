"""What every OCR engine offers."""

from collections.abc import Sequence
from typing import Protocol

from curation.images.decode import RgbImage
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.text_line import TextLine


class OcrEngine(Protocol):
    """Reads text in images. Made once a process; called from one thread."""

    fingerprint: EngineFingerprint

    def annotate(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        """The lines of each image in reading order, one list an image, empty where there is no text."""
        ...
