"""Settings of the SigLIP tagger, which its weights and its engine share."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class SiglipTagSettings(BaseModel):
    """How `SiglipTags` looks, and what it keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # A folder as save_pretrained writes it, or with `allow_download` a name on the hub (google/siglip-base-patch16-224,
    # google/siglip2-base-patch16-224). None ship.
    weights: str | None = None
    allow_download: bool = False
    vocabulary: str | None = None  # path of a file, as `read_vocabulary` takes it; None for the one that ships here
    # The tag takes the place of {}. This is the wording of transformers' zero-shot pipeline and its examples.
    prompt: str = Field(default="This is a photo of {}.", pattern=r"^[^{}]*\{\}[^{}]*$")
    # Tags below are dropped. SigLIP's scores are low, for it was trained on one fitting text among 32,000: in the
    # examples of its documentation, fitting texts get 0.2 and 0.3, others less than 0.0001. Not measured here, for want
    # of weights. Rendering can raise the floor at no cost.
    floor: float = Field(default=0.01, ge=0, le=1)
    # The most tags of one picture, the surest, so that a vocabulary of near-synonyms costs the box engine no hundreds.
    max_tags: int = Field(default=50, ge=1)
    caption: bool = True  # whether what the caption mentions is kept as well, as the caption engine finds it
    # auto: a CUDA device if there is one, in bf16 if it has it; else the CPU in fp32. What is taken goes into the
    # fingerprint. bf16 is autocast, and for pictures only: texts are embedded once and in fp32.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    # Pictures in one forward pass. None is 32 on CUDA and 1 on the CPU, where batches gain nothing (a base model at 224
    # pixels: 0.47 s a picture alone, 0.46 in fours) and where, at 1, not a bit of a score depends on the neighbours: a
    # run that is killed and resumed gives the same bytes.
    images_per_pass: int | None = Field(default=None, ge=1)
    # CPU threads. With one, a machine's number of cores alters no bit, and as many workers as cores lose nothing.
    threads: int = Field(default=1, ge=1)
