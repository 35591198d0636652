"""What every box engine offers."""

from collections.abc import Sequence
from typing import Protocol

from curation.images.decode import RgbImage
from schemas.records.box import Detection
from schemas.records.fingerprint import EngineFingerprint


class BoxEngine(Protocol):
    """Finds things in images by their names. Made once a process; called from one thread."""

    fingerprint: EngineFingerprint

    def annotate(self, images: Sequence[RgbImage], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Where each image shows the things of these names (without repeats), the surest first, one list an image."""
        ...
