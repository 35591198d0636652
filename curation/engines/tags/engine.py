"""What every tag engine offers."""

from collections.abc import Sequence
from typing import Protocol

from curation.images.decode import RgbImage
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.tag import Tag


class TagEngine(Protocol):
    """Says which entries of a vocabulary an image shows. Made once a process; called from one thread."""

    fingerprint: EngineFingerprint

    def annotate(self, images: Sequence[RgbImage], captions: Sequence[str]) -> list[list[Tag]]:
        """The tags of each image and its alt text, one list an image, empty where there are none."""
        ...
