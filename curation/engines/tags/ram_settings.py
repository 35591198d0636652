"""Defines the settings of the RAM tagger, which its weights, its labels and its engine share."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RamTagSettings(BaseModel):
    """Says how `RamTags` scores pictures, and which tags it keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # A checkpoint, ram_plus_swin_large_14m.pth or ram_swin_large_14m.pth, or a folder with one. Shardloom ships none.
    weights: str | None = None
    # Path of the tags in the order of the checkpoint, one per line: ram_tag_list.txt of the published code. Shardloom
    # ships no copy of it.
    vocabulary: str | None = None
    # Path of a threshold for each tag, in the same order: ram_tag_list_threshold.txt. None: `floor` for all tags.
    thresholds: str | None = None
    # Only tags with higher scores are kept. The default is that of the published code for a tag without a threshold of
    # its own. Rendering can raise the floor without new annotation. The file of `thresholds` takes its place.
    floor: float = Field(default=0.68, ge=0, le=1)
    # auto: a CUDA device if there is one, in bf16 if it supports that; else the CPU in fp32. The choice goes into the
    # fingerprint. bf16 is autocast.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    # Pictures in one forward pass. None means 32 on CUDA and 1 on the CPU, where no bit of a score then depends on the
    # other pictures: a run that is killed and resumed gives the same bytes.
    images_per_pass: int | None = Field(default=None, ge=1)
    # CPU threads. With one, results do not depend on the number of cores, and one worker for each core is as fast.
    threads: int = Field(default=1, ge=1)
