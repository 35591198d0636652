"""Defines the settings of the transformers engine, which its declaration and its model share."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TransformersSettings(BaseModel):
    """Says which model captions images, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # A folder as save_pretrained writes it, or with `allow_download` a name on the hub, such as
    # Qwen/Qwen2.5-VL-7B-Instruct. It must have a chat template: the prompt is a user's turn.
    weights: str | None = None
    allow_download: bool = False
    # False: the prompt alone, to rewrite what earlier stages found. The model may then be a language model.
    send_image: bool = True
    # Long side in pixels to which larger images are reduced: models with tokens by area would take 16,000 for a large
    # photo. Most others resize to less themselves.
    image_side: int = Field(default=1024, ge=32, le=8192)
    # Of the answer. A caption that reaches it has the status `truncated`.
    max_new_tokens: int = Field(default=512, ge=1)
    # auto: a CUDA device if there is one, in bf16 if it supports that; else the CPU in fp32. The choice goes into the
    # fingerprint.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    # Images that are captioned together. None means 16 on CUDA and 1 on the CPU, where with 1 no bit of the logits
    # depends on the other images. More is faster, and alters a caption only at a tie of two words.
    images_per_pass: int | None = Field(default=None, ge=1)
    # CPU threads. With one, results do not depend on the number of cores, and one worker for each core is as fast.
    threads: int = Field(default=1, ge=1)
