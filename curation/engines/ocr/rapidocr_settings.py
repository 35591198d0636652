"""Defines the settings of RapidOCR, which its declaration and its reader share."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from curation.engines.ocr.reading_order import ReadingOrder


class RapidOcrSettings(BaseModel):
    """Says how `RapidOcr` reads. The figures were measured with `benchmarks/ocr_quality.py`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Long side of the detector's input, in pixels. Pictures of 512 pixels, as in DataComp, gain the most from being
    # enlarged. Measured: CER on receipts (SROIE) shrunk to 512, and images/s over all sources on one thread:
    #     512: 0.528, 4.6 | 736: 0.377, 3.0 | 960: 0.320, 2.5 | 1280: 0.307, 1.9 | rapidocr's own sizing: 0.315, 0.9
    # and at full size: 0.492, 4.5 | 0.117, 2.8 | 0.107, 2.4 | 0.095, 1.9 | 0.094, 0.8. Use 1280 for small print.
    detect_side: int = Field(default=960, ge=32)
    # The largest factor by which a picture is enlarged for the detector. From 2 to 3, crops of one word improve (CER
    # 0.64 to 0.48) and the rest stays the same. rapidocr itself enlarges the short side to 736, however long the other:
    # single lines of text then cost ten times as much and are read worse (0.015 against 0.009).
    max_enlargement: float = Field(default=3.0, ge=1)
    # Larger pictures are first reduced to this long side. The recogniser then still has twice the resolution of the
    # detector's 960 pixels, and OpenCV accepts no side of 32768.
    max_side: int = Field(default=2000, ge=32, lt=2**15)
    # Lines below it are dropped. On SROIE at 512 a floor of 0.3 gives CER 0.313, 0.5 0.320, 0.7 0.394, 0.9 0.531; lines
    # between 0.3 and 0.5 in photos are not text. Rendering can raise the floor without new annotation.
    min_confidence: float = Field(default=0.5, ge=0, le=1)
    # columns: one column after the other; lines: rows across the picture. In order, the CER of two scanned magazine
    # pages is 0.03 and 0.74, that of receipts is the same. Sets that are older than this setting have lines, and so
    # does a fingerprint without it.
    reading_order: ReadingOrder = Field(default="columns", exclude_if=lambda order: order == "lines")
    # Folder with the files in `rapidocr_weights.REQUIRED_FILES`. None means those of the wheel, PP-OCRv6 small.
    weights: Path | None = None
    # cpu, cuda or cuda:N. With cuda the engine runs in the environment onnxruntime-gpu, and each worker needs a GPU or
    # a share of one (`run.resources`). There is no auto: on a GPU, the last digits of confidences are others. Ray shows
    # a worker only the GPUs that are its own, so N counts among these.
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:[0-9]{1,2})?)$", exclude_if=lambda device: device == "cpu")
    # Lines of one picture in one pass of the recogniser, padded to the widest. With 1, a line's result does not depend
    # on other lines; on a CPU that is not slower. More are for GPUs. Lines of two pictures never share a pass.
    lines_per_pass: int = Field(default=1, ge=1, exclude_if=lambda lines: lines == 1)
