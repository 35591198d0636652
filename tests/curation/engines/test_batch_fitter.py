"""Batches shrink where memory is full, by the real errors of torch and ONNX Runtime."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from rapidocr.inference_engine.onnxruntime import ONNXRuntimeError, OrtInferSession

from curation.engines.batch_fitter import BatchFitter, GpuMemoryError, PassSize, is_out_of_memory
from curation.engines.kinds import BOXES, OCR, EngineInput
from curation.images.decode import RgbImage
from schemas.records.box import Detection
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.text_line import TextLine, line_to_arrow
from tests.curation.engines.support.memory_errors import Filler

BOX = (0.0, 0.0, 1.0, 1.0)
CORNERS = (0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0)
UNIT = 100_000  # bytes of the arena's mebibyte that one row of pixels takes


BLANK = np.zeros((4, 4, 3), np.uint8)


class HeightOcr:
    """Reads the height of an image, and needs memory for that many rows of the whole batch."""

    def __init__(self, allocate: Callable[[int], object]) -> None:
        self.fingerprint = EngineFingerprint(name="height", version="1", weights_sha256="", settings={})
        self.allocate = allocate
        self.calls: list[int] = []  # images of each

    def annotate(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        self.calls.append(len(images))
        self.allocate(sum(len(image) for image in images))
        return [[TextLine(str(len(image)), CORNERS, BOX, 1.0)] for image in images]


class PassingOcr(HeightOcr):
    """Needs memory for one pass alone, however many images there are."""

    def __init__(self, allocate: Callable[[int], object], size: int) -> None:
        super().__init__(allocate)
        self.pass_size = PassSize(size, "line")

    def annotate(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        self.calls.append(self.pass_size.size)
        self.allocate(self.pass_size.size)
        return [[TextLine(str(len(image)), CORNERS, BOX, 1.0)] for image in images]


def of_heights(*heights: int) -> EngineInput:
    images = [np.zeros((height, 4, 3), np.uint8) for height in heights]
    return EngineInput(images, [""] * len(images), [])


def lines(*heights: int) -> list[list[object]]:
    return [[line_to_arrow(TextLine(str(height), CORNERS, BOX, 1.0))] for height in heights]


def allocate_as_torch(rows: int) -> None:
    if rows > 5:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def allocate_as_onnx_runtime() -> Callable[[int], object]:
    filler = Filler()
    return lambda rows: filler.fill(UNIT * rows)


@pytest.mark.parametrize("library", ["torch", "onnxruntime"])
def test_a_batch_is_halved_and_stays_so(library: str) -> None:
    engine = HeightOcr(allocate_as_torch if library == "torch" else allocate_as_onnx_runtime())
    height = 1 if library == "torch" else 2  # of which five fit, or ten rows
    told: list[str] = []
    fitter = BatchFitter(OCR, engine, told.append)
    assert fitter.annotate(of_heights(*[height] * 16)) == lines(*[height] * 16)
    assert engine.calls == [16, 8, 4, 4, 4, 4]
    assert told == ["ocr: out of memory: a worker computes 4 images at a time from here on"]
    engine.calls.clear()
    assert fitter.annotate(of_heights(1, 2, 1, 1, 2)) == lines(1, 2, 1, 1, 2), "the results, in the images' order"
    assert engine.calls == [4, 1]
    assert len(told) == 1


def test_an_image_too_large_alone_is_an_error_with_the_library_s_words() -> None:
    engine = HeightOcr(allocate_as_onnx_runtime())
    told: list[str] = []
    fitter = BatchFitter(OCR, engine, told.append)
    with pytest.raises(
        GpuMemoryError, match=r"^the image does not fit the GPU's memory: Fail: .* Available memory of "
    ):
        fitter.annotate(of_heights(1, 2, 50, 3))
    assert engine.calls == [4, 2, 2, 1], "the two small ones fit together"
    assert told == ["ocr: out of memory: a worker computes 2 images at a time from here on"]
    assert fitter.annotate(of_heights(1, 2, 3)) == lines(1, 2, 3)
    with pytest.raises(GpuMemoryError, match="the image does not fit"):
        fitter.annotate(of_heights(50))


def test_passes_are_halved_in_place_of_batches() -> None:
    engine = PassingOcr(allocate_as_onnx_runtime(), 16)
    told: list[str] = []
    fitter = BatchFitter(OCR, engine, told.append)
    assert fitter.annotate(of_heights(1, 2, 3)) == lines(1, 2, 3)
    assert engine.calls == [16, 8]
    assert told == ["ocr: out of memory: a worker computes 8 lines at a time from here on"]
    filler = Filler()
    never = PassingOcr(lambda rows: filler.fill(50 * UNIT * rows), 2)
    with pytest.raises(GpuMemoryError):
        BatchFitter(OCR, never, told.append).annotate(of_heights(1, 2))
    assert never.calls == [2, 1]


def test_other_errors_and_wrong_counts_pass() -> None:
    def fail(_: int) -> None:
        raise ValueError("no luck")

    engine = HeightOcr(fail)
    with pytest.raises(ValueError, match=r"^no luck$"):
        BatchFitter(OCR, engine, print).annotate(of_heights(1, 2))
    assert engine.calls == [2]

    class Forgetful:
        fingerprint = engine.fingerprint

        def annotate(self, images: Sequence[RgbImage], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
            return [[]]

    with pytest.raises(ValueError, match=r"^1 results for 2 images$"):
        BatchFitter(BOXES, Forgetful(), print).annotate(EngineInput([BLANK, BLANK], ["", ""], [["cat"], ["dog"]]))


def test_errors_of_memory_are_recognised() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("any words"))
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"))
    assert is_out_of_memory(MemoryError("ResourceExhaustedError: Out of memory error on GPU 0. Cannot allocate 2 GB"))
    assert not is_out_of_memory(RuntimeError("Input type and weight type should be the same"))
    assert not is_out_of_memory(MemoryError())
    session = OrtInferSession(OmegaConf.create({"session": Filler().session}, flags={"allow_objects": True}))
    with pytest.raises(ONNXRuntimeError) as wrapped:
        session(np.array([100 * UNIT], np.int64))
    assert is_out_of_memory(wrapped.value)
    own = RuntimeError("the engine's own words")
    own.__cause__ = torch.OutOfMemoryError("any words")
    assert is_out_of_memory(own)


def test_a_wrapped_error_is_told_in_the_library_s_words() -> None:
    """RapidOCR's own has a whole traceback in its message."""
    session = OrtInferSession(OmegaConf.create({"session": Filler().session}, flags={"allow_objects": True}))
    engine = HeightOcr(lambda rows: session(np.array([rows * UNIT], np.int64)))
    with pytest.raises(GpuMemoryError, match=r"^the image does not fit the GPU's memory: Fail: \[ONNXRuntimeError\] "):
        BatchFitter(OCR, engine, print).annotate(of_heights(50))


def test_an_arena_full_of_unused_blocks_is_emptied() -> None:
    kept, emptied = Filler(arena=None), Filler()
    assert kept.fill(400_000) == 400_000
    with pytest.raises(Exception, match=r"Available memory of .* is smaller than requested bytes of 800"):
        kept.fill(800_000)
    assert emptied.fill(800_000) == 800_000
