"""Defines the settings of the shardloom engine, which its declaration and its model share."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ShardloomSettings(BaseModel):
    """Says how an exported model captions images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # A folder that a training or `shardloom export` has written; a run needs one.
    weights: str | None = None
    # True: the prompt is a user's turn and the caption the assistant's, as in conversations. False: the caption
    # continues the image and the prompt as a document, for a model that was trained on captions alone.
    chat: bool = True
    send_image: bool = True  # False: the prompt alone, to rewrite what earlier stages found
    # Of the answer. A caption that reaches it has the status `truncated`. A dense caption of BLIP3-KALE has about 100.
    max_new_tokens: int = Field(default=256, ge=1)
    # auto: a CUDA device in bf16, as in training, if there is one; else the CPU in fp32.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    # Images that are captioned together. None means 32 on CUDA and 1 on the CPU, where with 1 no bit of the logits
    # depends on the other images. More is faster, and alters a caption only at a tie of two words.
    images_per_pass: int | None = Field(default=None, ge=1)
    # CPU threads. With one, results do not depend on the number of cores, and one worker for each core is as fast.
    threads: int = Field(default=1, ge=1)
