"""Engines for tests: real in all that the pipeline sees of an engine, but for the reading."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import ray

from curation.images.decode import RgbImage
from schemas.records.box import Detection
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.tag import Tag
from schemas.records.text_line import TextLine


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
        mean = "-".join(str(int(value)) for value in np.asarray(image).mean(axis=(0, 1)))
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{self.call(mean)}\n")
        time.sleep(self.seconds)
        box = (0.125, 0.25, 0.5, 0.75)
        return [TextLine(mean, (0.125, 0.25, 0.5, 0.25, 0.5, 0.75, 0.125, 0.75), box, 0.5)]

    def call(self, mean: str) -> str:
        """What the log says of a call."""
        return str(os.getpid())


class PlacedOcr(PixelOcr):
    """Logs the image, the process, its node and the GPUs that it sees."""

    def call(self, mean: str) -> str:
        node = ray.get_runtime_context().get_node_id()
        return f"{mean} {os.getpid()} {node} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}"


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

    def __init__(self, width: int, log: str = "") -> None:
        super().__init__(log)
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


class PixelBoxes:
    """Boxes every name by the mean colour of its image, and scores it by what else is in the batch.

    BOX_LOG gets a line for every image; BOX_SECONDS makes it slower without being another recipe.
    """

    def __init__(self) -> None:
        self.log, self.seconds = os.environ.get("BOX_LOG", ""), float(os.environ.get("BOX_SECONDS", 0))
        self.fingerprint = EngineFingerprint(name="pixel boxes", version="1", weights_sha256="", settings={})

    def annotate(self, images: Sequence[RgbImage], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        together = float(sum(image.mean() for image in images) % 1)
        return [self.find(image, wanted, together) for image, wanted in zip(images, names, strict=True)]

    def find(self, image: RgbImage, names: Sequence[str], together: float) -> list[Detection]:
        assert not image.flags.writeable, "engines share pixels"
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{self.call()}\n")
        time.sleep(self.seconds)
        x, y = (float(value) / 512 for value in image.mean(axis=(0, 1))[:2])
        return [Detection(name, name, (x, y, x + 0.25, y + 0.25), together) for name in names]

    def call(self) -> str:
        """What the log says of a call."""
        return str(os.getpid())


class PlacedBoxes(PixelBoxes):
    """Logs the process and its node."""

    def call(self) -> str:
        return f"{os.getpid()} {ray.get_runtime_context().get_node_id()}"


class KillerBoxes(PixelBoxes):
    """Dies on images of one width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def find(self, image: RgbImage, names: Sequence[str], together: float) -> list[Detection]:
        if image.shape[1] == self.width:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().find(image, names, together)


class FailingBoxes(PixelBoxes):
    """Raises on images of one width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def find(self, image: RgbImage, names: Sequence[str], together: float) -> list[Detection]:
        if image.shape[1] == self.width:
            raise RuntimeError("no boxes today")
        return super().find(image, names, together)


class FailingTags:
    """Raises on one caption."""

    def __init__(self, caption: str) -> None:
        self.caption = caption
        self.fingerprint = EngineFingerprint(name="failing tags", version="1", weights_sha256="", settings={})

    def annotate(self, images: Sequence[RgbImage], captions: Sequence[str]) -> list[list[Tag]]:
        if self.caption in captions:
            raise RuntimeError("no tags today")
        return [[Tag(caption, 1.0, "caption", 0, len(caption))] for caption in captions]
