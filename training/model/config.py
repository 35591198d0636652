"""Defines the options of the model. The defaults are those of xGen-MM (BLIP-3) 4B, arXiv 2408.08872."""

from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from schemas.errors import UsageError
from schemas.output_set.options import Options, PathOrName
from training.model.chat_format import ChatFormat
from training.model.connectors.perceiver import PerceiverOptions
from training.model.connectors.registry import AnyConnectorOptions
from training.model.tiling_options import AnyResolutionOptions

MODEL_TYPE = "shardloom_resampler_lmm"
"""The model type in the config.json of an export."""


def _is_default(value: object) -> bool:
    """Returns whether an export may leave the option out, as exports did that had none."""
    return value is None or value is False


class PartOptions(Options):
    """Describes a tower or a language model: a new one from a configuration, or one to load."""

    pretrained: PathOrName | None = Field(None, description="a folder, or with allow_download a name on the hub")
    config: dict[str, Any] = Field({}, description="without `pretrained`: the configuration, for random weights")

    @model_validator(mode="after")
    def _check_one_given(self) -> "PartOptions":
        if (self.pretrained is None) == (not self.config):
            raise ValueError("give either pretrained or config")
        return self


class VisionOptions(PartOptions):
    """Describes a tower, which features of it are used, and at which resolution it runs."""

    feature_layer: Literal[-1, -2] = Field(
        -1,
        exclude_if=lambda layer: layer == -1,
        description="the encoder's layer whose output is used: the last, as in xGen-MM; -2: that before, as in LLaVA",
    )
    image_size: PositiveInt | None = Field(
        None,
        exclude_if=_is_default,
        description="side of a tile in pixels: position embeddings are interpolated, as in MM1; default: the tower's",
    )


class PromptOptions(Options):
    """Describes the tokens that training put around texts; an export stores it, and prompts are formatted alike."""

    system: str | None = Field(None, description="text of the system turn, for conversations that have none")
    end_of_chunk: bool = Field(True, description="<|endofchunk|> before each image of a document but the first")
    template: ChatFormat | None = Field(
        None, exclude_if=_is_default, description="the texts around turns; without it, role markers or names"
    )
    template_fault: str | None = Field(
        None, exclude_if=_is_default, description="why conversations can't be formatted, if they can't"
    )
    bos: Literal["auto"] | bool = Field(
        False, exclude_if=_is_default, description="as in `DataOptions`; older exports were trained without"
    )


class ModelOptions(Options):
    """Describes the whole model."""

    vision: VisionOptions | None = Field(
        description="null: no tower, for a language model by itself; the connector is not made either"
    )
    connector: AnyConnectorOptions = PerceiverOptions()
    language: PartOptions
    tokenizer: PathOrName | None = Field(
        None, description="folder or file with a tokenizer.json; default: language.pretrained"
    )
    any_resolution: AnyResolutionOptions = AnyResolutionOptions()
    head_bias: bool = Field(True, description="a bias of the language model's head, which Phi-3 lacks and xGen-MM has")
    attention: Literal["sdpa", "eager", "flex_attention"] = Field("sdpa", description="flex_attention needs a GPU")
    allow_download: bool = False
    seed: int = Field(0, description="seeds the new weights")

    def count_tokens_per_tile(self, cells: int) -> int:
        """Counts the tokens of a tile of `cells` cells, or of a whole image with `fixed_sampling`; 0 without a tower.

        Raises `UsageError` for cells, or a sampling, that the connector cannot take.
        """
        if self.vision is None:
            return 0
        if self.any_resolution.fixed_sampling and not self.connector.takes_any_cells:
            raise UsageError(
                f"model.any_resolution.fixed_sampling: connector {self.connector.kind} needs the square grid of one"
                " tile: use kind: perceiver, attention_pool or instruction_aware, or fixed_sampling: false"
            )
        return self.connector.count_tokens_per_tile(cells)
