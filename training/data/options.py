"""Defines the options of the trainer's data: a mixture, and how its samples become sequences."""

from typing import Any, Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from curation.mixture.options import MixtureOptions
from schemas.output_set.options import Globs, Options, RecipePath
from training.model.chat_format import ChatFormat
from training.model.tiling_options import SourceTilingOptions

DEFAULT_SYSTEM_PROMPT = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


class SourceTextOptions(Options):
    """Chooses the text of a source's samples that is trained on. The defaults take the stored text unchanged."""

    strip_filler: bool = Field(
        False, description='removes "the text" from OCR captions, as BLIP-3 does; quotes stay untouched'
    )
    granularities: list[int] | None = Field(
        None, min_length=1, description="those of an image's captions to use; the hash of its key picks one of several"
    )
    raw_caption: bool | None = Field(
        None,
        description="true: only captions that begin with the image's alt text; false: only the others; default: both, "
        "but no bare list of objects if the image has a caption with their places in it",
    )

    @property
    def is_stored(self) -> bool:
        """Returns whether the text is the stored one, whose tokens the index counts."""
        return not self.strip_filler and self.granularities is None and self.raw_caption is None


HELD_OUT_SHARE = 0.001
GENERATED_SAMPLES, GENERATED_TOKENS = 4, 48


class HeldOutOptions(Options):
    """Says which samples are held out of training, and how often their loss is computed."""

    share: float | None = Field(
        HELD_OUT_SHARE,
        gt=0,
        lt=1,
        description="of each source's samples, chosen by the hash of their number; in no pack. null: none, the default "
        "where there are `sets`",
    )
    sets: dict[str, Globs] = Field(
        {},
        exclude_if=lambda sets: not sets,  # as in the stored recipes of runs that began without the option
        description="sets of their own by name, such as a validation split: none of their samples may be in a source. "
        "The name of a source applies its texts and any_resolution",
    )
    every: PositiveInt = Field(1000, description="steps between computations, and one at the end of the run")
    samples: PositiveInt = Field(
        256, description="held-out samples of each source, forward alone: 1 % of the work of 1000 steps of 8 packs"
    )
    generate: int = Field(
        GENERATED_SAMPLES,
        ge=0,
        exclude_if=lambda count: count == GENERATED_SAMPLES,
        description="held-out samples that the model continues whenever its loss is the lowest so far, written to "
        "held_out_samples.jsonl: as many as a person reads at a glance",
    )
    generate_tokens: PositiveInt = Field(
        GENERATED_TOKENS,
        exclude_if=lambda count: count == GENERATED_TOKENS,
        description="tokens of each at most, chosen greedily: a caption, or two lines of text; each is a forward pass",
    )

    @model_validator(mode="before")
    @classmethod
    def _hold_out_no_share_beside_sets(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("sets") and "share" not in values:
            return values | {"share": None}
        return values

    @model_validator(mode="after")
    def _check_something_is_held_out(self) -> "HeldOutOptions":
        if self.share is None and not self.sets:
            raise ValueError("nothing is held out: give a share or sets, or leave held_out out")
        return self


class DataOptions(MixtureOptions):
    """Describes the mixture to train on, packed into sequences of one length."""

    sequence_length: int = Field(4096, ge=16, description="positions; Phi-3-mini's context")
    tiles_per_sequence: PositiveInt = Field(
        32, description="image budget. MM1: 16 images of 144 tokens; captions alone fill 4096 positions with 26 images"
    )
    packing_window: PositiveInt = Field(
        4096,
        le=1 << 16,
        description="samples packed together: more need less padding, but move further from their place",
    )
    texts: dict[str, SourceTextOptions] = Field({}, description="by source; sources not named use the stored text")
    any_resolution: dict[str, SourceTilingOptions] = Field(
        {},
        exclude_if=lambda named: not named,
        description="by source, for example captions on one tile and conversations at any resolution; sources that are "
        "not named use model.any_resolution, as prompts do after training",
    )
    system_prompt: str | None = Field(
        DEFAULT_SYSTEM_PROMPT,
        min_length=1,
        description="opens conversations that have no system turn, as in LLaVA and xGen-MM",
    )
    template: ChatFormat | None = Field(
        None, description="texts around the turns of conversations; default: the tokenizer's own chat template"
    )
    bos: Literal["auto"] | bool = Field(
        "auto", description="a BOS before each sample; auto: where the tokenizer and its chat template put one"
    )
    end_of_chunk: bool = Field(True, description="<|endofchunk|> after the text of an image, as OpenFlamingo does")
    max_bad_samples: float = Field(0.01, ge=0, le=1, description="share of samples that may be bad; more stops the run")
    held_out: HeldOutOptions | None = Field(
        None,
        exclude_if=lambda held_out: held_out is None,
        description="samples to be kept out of training, whose loss by source is written to held_out.jsonl",
    )
    cache: RecipePath | None = Field(
        None, description="folder for tables of lengths; default: shardloom/tables in the user's cache folder"
    )
    workers: int = Field(2, ge=0, description="processes per rank that read and decode; 0: the trainer's process does")
    prefetch: PositiveInt = Field(2, description="batches that each worker prepares ahead: one in use, one to come")

    def repeat(self, epochs: int) -> "DataOptions":
        """Returns the options of a mixture that draws `epochs` times as often from each source."""
        repeats = {
            name: None if (times := self.repeats.get(name, 1)) is None else times * epochs for name in self.sources
        }
        stop = self.stop * epochs if isinstance(self.stop, int) else self.stop
        return self if epochs == 1 else self.model_copy(update={"repeats": repeats, "stop": stop})

    @field_validator("texts", "any_resolution")
    @classmethod
    def _check_rule_sources(cls, rules: dict[str, Options], info: ValidationInfo) -> dict[str, Options]:
        unknown = [name for name in rules if name not in info.data.get("sources", rules)]
        if unknown:
            raise ValueError(f"there is no source {unknown[0]!r}")
        return dict(sorted(rules.items()))

    @field_validator("held_out")
    @classmethod
    def _check_held_out_names(cls, held_out: HeldOutOptions | None, info: ValidationInfo) -> HeldOutOptions | None:
        """Refuses a set by the name of a source of which a share is held out as well: its loss would be of both."""
        if held_out is not None and held_out.share is not None:
            for name in held_out.sets:
                if name in info.data.get("sources", ()):
                    raise ValueError(
                        f"sets: a share of source {name!r} is held out as well: set share: null, or rename"
                    )
        return held_out
