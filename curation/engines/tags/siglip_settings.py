"""Defines the settings of the SigLIP tagger, which its weights and its engine share."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class SiglipTagSettings(BaseModel):
    """Says how `SiglipTags` scores pictures, and which tags it keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # A folder as save_pretrained writes it, or with `allow_download` a name on the hub (google/siglip-base-patch16-224,
    # google/siglip2-base-patch16-224). Shardloom ships none.
    weights: str | None = None
    allow_download: bool = False
    vocabulary: str | None = None  # path of a file, see `read_vocabulary`; None for the one that ships
    # The tag replaces {}. This is the wording of transformers' zero-shot pipeline and its examples.
    prompt: str = Field(default="This is a photo of {}.", pattern=r"^[^{}]*\{\}[^{}]*$")
    # Tags with lower scores are dropped. SigLIP's scores are low, because it was trained on one matching text among
    # 32,000: in the examples of its documentation, matching texts get 0.2 and 0.3, others less than 0.0001. The default
    # is not measured, because Shardloom ships no weights. Rendering can raise the floor without new annotation.
    floor: float = Field(default=0.01, ge=0, le=1)
    # The highest-scoring tags of a picture that are kept, so that near-synonyms do not give the box engine hundreds.
    max_tags: int = Field(default=50, ge=1)
    caption: bool = True  # whether the tags that the caption engine finds are added
    # auto: a CUDA device if there is one, in bf16 if it supports that; else the CPU in fp32. The choice goes into the
    # fingerprint. bf16 is autocast, and for pictures only: texts are embedded once and in fp32.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    # Pictures in one forward pass. None means 32 on CUDA and 1 on the CPU. There, batches gain nothing (a base model at
    # 224 pixels: 0.47 s a picture alone, 0.46 in batches of four), and with 1 no bit of a score depends on the other
    # pictures: a run that is killed and resumed gives the same bytes.
    images_per_pass: int | None = Field(default=None, ge=1)
    # CPU threads. With one, results do not depend on the number of cores, and one worker for each core is as fast.
    threads: int = Field(default=1, ge=1)
