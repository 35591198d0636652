"""Engines for tests: real in all that the pipeline sees of an engine, but for the reading. They are trusted code."""

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import ray

from curation.engines.declaration import EngineDeclaration
from curation.engines.kinds import BOXES, OCR, TAGS
from curation.images.decode import RgbImage
from schemas.output_set.options import Options
from schemas.records.box import Detection
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.tag import Tag
from schemas.records.text_line import TextLine


class PixelSettings(Options):
    """Of the readers."""

    log: str = ""
    seconds: float = 0.0


class WidthSettings(PixelSettings):
    """Of those that something becomes of at images of one width."""

    width: int


class FaultSettings(PixelSettings):
    """Of the reader whose faults pass."""

    faults: str


class CaptionSettings(Options):
    """Of the tagger that fails."""

    caption: str


class PixelOcr:
    """Reads the mean colour. `log`, or CALL_LOG, is a file that gets a line for every image: so tests count calls.

    CALL_SECONDS makes it slower without being another recipe.
    """

    def __init__(self, settings: PixelSettings) -> None:
        self.log = settings.log or os.environ.get("CALL_LOG", "")
        self.seconds = float(os.environ.get("CALL_SECONDS", settings.seconds))
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

    def __init__(self, settings: WidthSettings) -> None:
        super().__init__(settings)
        self.width = settings.width

    def read(self, image: RgbImage) -> list[TextLine]:
        if image.shape[1] == self.width:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(image)


class DyingOcr(PixelOcr):
    """Dies once, as by SIGKILL from outside, in the first process that has been given so many images.

    Their number is in the file that CALL_KILL names, which the process takes.
    """

    def __init__(self, settings: PixelSettings) -> None:
        super().__init__(settings)
        self.order, self.images = Path(os.environ.get("CALL_KILL", "")), 0

    def read(self, image: RgbImage) -> list[TextLine]:
        lines = super().read(image)
        self.images += 1
        with contextlib.suppress(FileNotFoundError):
            if self.order.is_file() and self.images == int(self.order.read_text()):
                self.order.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        return lines


class FailingOcr(PixelOcr):
    """Raises on images of one width, or on all when it is 0."""

    def __init__(self, settings: WidthSettings) -> None:
        super().__init__(settings)
        self.width = settings.width

    def read(self, image: RgbImage) -> list[TextLine]:
        if self.width in (0, image.shape[1]):
            raise RuntimeError("the engine's own message")
        return super().read(image)


class PassingOcr(PixelOcr):
    """Raises on images whose widths are in the file `faults`, as long as they are there."""

    def __init__(self, settings: FaultSettings) -> None:
        super().__init__(settings)
        self.faults = Path(settings.faults)

    def read(self, image: RgbImage) -> list[TextLine]:
        if str(image.shape[1]) in self.faults.read_text().split():
            raise RuntimeError("a fault that passes")
        return super().read(image)


class HungryOcr(PixelOcr):
    """Has memory for two images at a time, and for none of one width."""

    def __init__(self, settings: WidthSettings) -> None:
        super().__init__(settings)
        self.width = settings.width

    def annotate(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        if len(images) > 2 or any(image.shape[1] == self.width for image in images):
            import torch  # here, for it takes a second that few tests need

            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().annotate(images)


class HangingOcr(PixelOcr):
    """Never comes back."""

    def read(self, image: RgbImage) -> list[TextLine]:
        time.sleep(3600)
        return super().read(image)


class HangingWideOcr(PixelOcr):
    """Never comes back from images of one width."""

    def __init__(self, settings: WidthSettings) -> None:
        super().__init__(settings)
        self.width = settings.width

    def read(self, image: RgbImage) -> list[TextLine]:
        if image.shape[1] == self.width:
            time.sleep(3600)
        return super().read(image)


class PixelBoxes:
    """Boxes every name by the mean colour of its image, and scores it by what else is in the batch.

    BOX_LOG gets a line for every image; BOX_SECONDS makes it slower without being another recipe.
    """

    def __init__(self, settings: Options) -> None:
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

    def __init__(self, settings: WidthSettings) -> None:
        super().__init__(settings)
        self.width = settings.width

    def find(self, image: RgbImage, names: Sequence[str], together: float) -> list[Detection]:
        if image.shape[1] == self.width:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().find(image, names, together)


class FailingBoxes(PixelBoxes):
    """Raises on images of one width."""

    def __init__(self, settings: WidthSettings) -> None:
        super().__init__(settings)
        self.width = settings.width

    def find(self, image: RgbImage, names: Sequence[str], together: float) -> list[Detection]:
        if image.shape[1] == self.width:
            raise RuntimeError("no boxes today")
        return super().find(image, names, together)


class FailingTags:
    """Raises on one caption."""

    def __init__(self, settings: CaptionSettings) -> None:
        self.caption = settings.caption
        self.fingerprint = EngineFingerprint(name="failing tags", version="1", weights_sha256="", settings={})

    def annotate(self, images: Sequence[RgbImage], captions: Sequence[str]) -> list[list[Tag]]:
        if self.caption in captions:
            raise RuntimeError("no tags today")
        return [[Tag(caption, 1.0, "caption", 0, len(caption))] for caption in captions]


PIXEL_OCR = EngineDeclaration(name="PixelOcr", kind=OCR, settings=PixelSettings, make=PixelOcr)
PLACED_OCR = EngineDeclaration(name="PlacedOcr", kind=OCR, settings=PixelSettings, make=PlacedOcr)
KILLER_OCR = EngineDeclaration(name="KillerOcr", kind=OCR, settings=WidthSettings, make=KillerOcr)
DYING_OCR = EngineDeclaration(name="DyingOcr", kind=OCR, settings=PixelSettings, make=DyingOcr)
FAILING_OCR = EngineDeclaration(name="FailingOcr", kind=OCR, settings=WidthSettings, make=FailingOcr)
PASSING_OCR = EngineDeclaration(name="PassingOcr", kind=OCR, settings=FaultSettings, make=PassingOcr)
HUNGRY_OCR = EngineDeclaration(name="HungryOcr", kind=OCR, settings=WidthSettings, make=HungryOcr)
HANGING_OCR = EngineDeclaration(name="HangingOcr", kind=OCR, settings=PixelSettings, make=HangingOcr)
HANGING_WIDE_OCR = EngineDeclaration(name="HangingWideOcr", kind=OCR, settings=WidthSettings, make=HangingWideOcr)
PIXEL_BOXES = EngineDeclaration(name="PixelBoxes", kind=BOXES, settings=Options, make=PixelBoxes)
PLACED_BOXES = EngineDeclaration(name="PlacedBoxes", kind=BOXES, settings=Options, make=PlacedBoxes)
KILLER_BOXES = EngineDeclaration(name="KillerBoxes", kind=BOXES, settings=WidthSettings, make=KillerBoxes)
FAILING_BOXES = EngineDeclaration(name="FailingBoxes", kind=BOXES, settings=WidthSettings, make=FailingBoxes)
FAILING_TAGS = EngineDeclaration(name="FailingTags", kind=TAGS, settings=CaptionSettings, make=FailingTags)

REFERENCES = {
    declaration.name: f"{__name__}:{constant}"
    for constant, declaration in list(globals().items())
    if isinstance(declaration, EngineDeclaration)
}
"""What to trust for an engine of this name."""


def trust_flags(*names: str) -> list[str]:
    """What the command line must be told to find these engines: nothing for those that ship."""
    references = {REFERENCES.get(name, name) for name in names}
    return [word for reference in sorted(references) if ":" in reference for word in ("--trust-code", reference)]
