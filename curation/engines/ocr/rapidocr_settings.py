"""Settings of RapidOCR, which its declaration and its reader share."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class RapidOcrSettings(BaseModel):
    """How `RapidOcr` reads. The figures are of `benchmarks/ocr_quality.py`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Long side, in pixels, that the detector sees. Pictures of 512 pixels, as DataComp's are, gain the most from being
    # enlarged for it. Receipts (SROIE) shrunk to 512, CER, and images/s over all sources on one thread:
    #     512: 0.528, 4.6 | 736: 0.377, 3.0 | 960: 0.320, 2.5 | 1280: 0.307, 1.9 | rapidocr's own sizing: 0.315, 0.9
    # and as they are: 0.492, 4.5 | 0.117, 2.8 | 0.107, 2.4 | 0.095, 1.9 | 0.094, 0.8. Take 1280 for small print.
    detect_side: int = Field(default=960, ge=32)
    # The most that a picture is enlarged for the detector. Crops of one word gain from 2 to 3 (CER 0.64 to 0.48), the
    # rest stays the same. rapidocr enlarges a short side to 736 however long the other: lines of text cost it ten times
    # as much, and are read worse (0.015 against 0.009).
    max_enlargement: float = Field(default=3.0, ge=1)
    # Larger pictures are reduced to this long side before all else. What the detector can see at 960 pixels still has
    # twice the resolution for the recogniser, and OpenCV takes no side of 32768.
    max_side: int = Field(default=2000, ge=32, lt=2**15)
    # Lines below are dropped. On SROIE at 512 a floor of 0.3 gives CER 0.313, 0.5 0.320, 0.7 0.394, 0.9 0.531; what
    # photos give between 0.3 and 0.5 is no text. Rendering can raise the floor at no cost.
    min_confidence: float = Field(default=0.5, ge=0, le=1)
    # Folder with det.onnx and rec.onnx, converted for rapidocr (with the characters in the recogniser's metadata); None
    # takes those of the wheel, PP-OCRv6 small.
    weights: Path | None = None
