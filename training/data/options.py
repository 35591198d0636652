"""What the trainer's data is asked to be: a mixture, and how its samples become sequences."""

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from curation.mixture.options import MixtureOptions
from schemas.output_set.options import Options

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


class SourceText(Options):
    """Which text of a source's samples is learnt. The defaults take the stored one as it is."""

    strip_filler: bool = Field(
        False, description='"the text" out of OCR captions, as BLIP-3 does; quotes stay untouched'
    )
    granularities: list[int] | None = Field(
        None, min_length=1, description="of the captions stored with an image; of several, one by the hash of its key"
    )
    raw_caption: bool | None = Field(
        None, description="with granularities: those that begin with the image's alt text, or those that do not"
    )

    @property
    def is_stored(self) -> bool:
        """Whether the text is the stored one, of which the index has the tokens."""
        return not self.strip_filler and self.granularities is None and self.raw_caption is None


class DataOptions(MixtureOptions):
    """The mixture that is trained on, packed into sequences of one length."""

    sequence_length: int = Field(4096, ge=16, description="positions; Phi-3-mini's context")
    tiles_per_sequence: PositiveInt = Field(
        32, description="the image budget. MM1 has 16 of 144 tokens; captions alone fill 4096 positions with 26 images"
    )
    window: PositiveInt = Field(
        4096, le=1 << 16, description="samples packed together: more pad less, and lie further from their place"
    )
    texts: dict[str, SourceText] = Field({}, description="by source; for those not named the stored text")
    system: str | None = Field(
        SYSTEM, min_length=1, description="put before conversations that begin without one, as LLaVA and xGen-MM do"
    )
    end_of_chunk: bool = Field(True, description="<|endofchunk|> after what was said of an image, as OpenFlamingo does")
    max_faults: float = Field(0.01, ge=0, le=1, description="share of samples that may be corrupt; more stops the run")
    cache: str | None = Field(None, description="folder for tables of lengths; default: shardloom/tables in the cache")
    workers: int = Field(2, ge=0, description="processes a rank that read and decode; 0: the trainer's own does")
    prefetch: PositiveInt = Field(2, description="batches that each worker holds ready: one in use, one to come")

    @field_validator("texts")
    @classmethod
    def _of_sources(cls, texts: dict[str, SourceText], info: ValidationInfo) -> dict[str, SourceText]:
        unknown = [name for name in texts if name not in info.data.get("sources", texts)]
        if unknown:
            raise ValueError(f"there is no source {unknown[0]!r}")
        return dict(sorted(texts.items()))
