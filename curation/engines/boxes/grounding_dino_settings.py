"""Defines the settings of the detector, which its weights and its engines share."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class GroundingDinoSettings(BaseModel):
    """Says how `GroundingDino` looks for things, and which boxes it keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # A folder as save_pretrained writes it, or with `allow_download` a name on the hub
    # (IDEA-Research/grounding-dino-tiny). None means the demonstration weights that ship.
    weights: str | None = None
    allow_download: bool = False
    # Demonstration weights know only a few words: `check_demonstration` refuses other words unless this is set.
    allow_out_of_vocabulary: bool = False
    # The authors' demonstration uses 0.3 and 0.25. Rendering can raise the first without new annotation.
    box_threshold: float = Field(default=0.3, ge=0, le=1)
    text_threshold: float = Field(default=0.25, ge=0, le=1)
    # Tokens in a prompt, with its separators. The published models accept 256; a model's own lower limit applies too.
    max_tokens: int = Field(default=256, ge=4)
    # Boxes of one label that overlap more (intersection over union) count as one thing. Grounded-SAM labels images
    # with 0.5.
    nms_iou: float = Field(default=0.5, ge=0, le=1)
    # Share of the image. Larger boxes are the whole image; readers of the published captions drop them from 0.9 on.
    max_area: float = Field(default=0.9, gt=0, le=1)
    # Share of the image's side. Boxes with a shorter side are dropped; the default is one pixel of 500.
    min_side: float = Field(default=0.002, ge=0, lt=1)
    # Prompts in one forward pass. With 1, no bit of a box depends on other prompts, and a run that is killed and
    # resumed gives the same bytes. More is for GPUs. In fp32 it gives the same boxes to 1e-5, but not in bf16, whose
    # rounding depends on the other prompts: nearly equal queries change ranks, and with them their boxes.
    rows_per_pass: int = Field(default=1, ge=1)
    # The sides of the network's input are rounded to the nearest multiple of this. 1 is as published. 32 lets pictures
    # of nearly equal shape share a pass (600 x 800 and 599 x 800), distorted by about 2 % at the published size.
    side_step: int = Field(default=1, ge=1)
    # auto: a CUDA device if there is one, in bf16 if it supports that; else the CPU in fp32. The choice goes into the
    # fingerprint. bf16 is autocast: weights cast to it give boxes of NaN.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    # CPU threads. With one, results do not depend on the number of cores, and one worker for each core is as fast.
    threads: int = Field(default=1, ge=1)
