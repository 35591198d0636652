"""OCR engines for tests: real in all that the pipeline sees of an engine, but for the reading."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from curation.decode import RgbImage
from schemas.fingerprint import EngineFingerprint
from schemas.text_line import TextLine


class PixelOcr:
    """Reads the mean colour. `log`, or CALL_LOG, is a file that gets a line for every image: so tests count calls.

    CALL_SECONDS makes it slower without being another recipe.
    """

    def __init__(self, log: str = "", seconds: float = 0.0) -> None:
        self.log, self.seconds = log or os.environ.get("CALL_LOG", ""), float(os.environ.get("CALL_SECONDS", seconds))
        self.fingerprint = EngineFingerprint(name="pixel", version="1", weights_sha256="", settings={})

    def annotate(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        return [self.read(image) for image in images]

    def read(self, image: RgbImage) -> list[TextLine]:
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{os.getpid()}\n")
        time.sleep(self.seconds)
        mean = "-".join(str(int(value)) for value in np.asarray(image).mean(axis=(0, 1)))
        box = (0.125, 0.25, 0.5, 0.75)
        return [TextLine(mean, (0.125, 0.25, 0.5, 0.25, 0.5, 0.75, 0.125, 0.75), box, 0.5)]


class KillerOcr(PixelOcr):
    """Dies, as by a native crash, on images of one width."""

    def __init__(self, width: int, log: str = "") -> None:
        super().__init__(log)
        self.width = width

    def read(self, image: RgbImage) -> list[TextLine]:
        if image.shape[1] == self.width:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(image)


class FailingOcr(PixelOcr):
    """Raises on images of one width, or on all when it is 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def read(self, image: RgbImage) -> list[TextLine]:
        if self.width in (0, image.shape[1]):
            raise RuntimeError("the engine's own message")
        return super().read(image)


class HangingOcr(PixelOcr):
    """Never comes back."""

    def read(self, image: RgbImage) -> list[TextLine]:
        time.sleep(3600)
        return super().read(image)
