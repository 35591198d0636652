"""Settings of the detector, which its weights and its engines share."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class GroundingDinoSettings(BaseModel):
    """How `GroundingDino` looks, and what it keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # A folder as save_pretrained writes it, or with `allow_download` a name on the hub
    # (IDEA-Research/grounding-dino-tiny); None takes the demonstration weights that ship.
    weights: str | None = None
    allow_download: bool = False
    # Demonstration weights know a few words. Nothing here reads this: the pipeline refuses other words without it.
    allow_out_of_vocabulary: bool = False
    # The authors' demonstration has 0.3 and 0.25. Rendering can raise the first at no cost.
    box_threshold: float = Field(default=0.3, ge=0, le=1)
    text_threshold: float = Field(default=0.25, ge=0, le=1)
    # Tokens a prompt, with its separators. The published models take 256; one that takes fewer is given fewer.
    max_tokens: int = Field(default=256, ge=4)
    # Boxes of one label that overlap more are one thing. 0.5 is what Grounded-SAM labels images with.
    nms_iou: float = Field(default=0.5, ge=0, le=1)
    # Larger boxes (part of the image) are the whole image; readers of the published captions drop them from 0.9 on.
    max_area: float = Field(default=0.9, gt=0, le=1)
    # Boxes with a shorter side (part of the image) are dropped: it is one pixel of 500.
    min_side: float = Field(default=0.002, ge=0, lt=1)
    # Prompts in one forward pass. At 1, not a bit of a box depends on its neighbours, and a run that is killed and
    # resumed gives the same bytes. More is for GPUs. In fp32 that gives the same boxes to 1e-5; not in bf16, whose
    # rounding depends on the neighbours: queries that were nearly equal change ranks, and with them their boxes.
    rows_per_pass: int = Field(default=1, ge=1)
    # The network's image has sides that are multiples of this, to the nearest. 1 is as published; 32 lets pictures of
    # nearly equal shape share a pass (600 x 800 and 599 x 800), about 2 % out of proportion at the published size.
    side_step: int = Field(default=1, ge=1)
    # auto: a CUDA device if there is one, in bf16 if it has it; else the CPU in fp32. What is taken goes into the
    # fingerprint. bf16 is autocast: weights cast to it give boxes of NaN.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    # CPU threads. With one, a machine's number of cores alters no bit, and as many workers as cores lose nothing.
    threads: int = Field(default=1, ge=1)
