"""Describes an exported model to transformers."""

from typing import Any

from transformers import AutoConfig, PreTrainedConfig


class ShardloomConfig(PreTrainedConfig):
    """Holds the configurations of the tower and the language model, and what joins them."""

    model_type = "shardloom_lmm"
    sub_configs = {"text_config": AutoConfig, "vision_config": AutoConfig}  # noqa: RUF012 - as transformers has it

    def __init__(
        self,
        vision_config: PreTrainedConfig | dict[str, Any] | None = None,
        text_config: PreTrainedConfig | dict[str, Any] | None = None,
        connector: dict[str, Any] | None = None,
        tiling: dict[str, Any] | None = None,
        feature_layer: int = -1,
        tile_size: int | None = None,
        image_token_id: int | None = None,
        head_bias: bool = False,
        tie_word_embeddings: bool = False,
        **kwargs: Any,
    ) -> None:
        """Makes the configuration; without arguments it is of no model, as transformers wants one to compare with.

        `connector` has the name of its class and the arguments that make it, `tiling` says how images become tiles of
        `tile_size` pixels a side.
        """
        self.vision_config = make_part_config(vision_config, "siglip_vision_model")
        self.text_config = make_part_config(text_config, "llama")
        self.connector, self.tiling = connector or {}, tiling or {}
        self.feature_layer, self.tile_size = feature_layer, tile_size
        self.image_token_id, self.head_bias = image_token_id, head_bias
        super().__init__(**kwargs)
        self.tie_word_embeddings = tie_word_embeddings


def make_part_config(given: PreTrainedConfig | dict[str, Any] | None, default: str) -> PreTrainedConfig:
    """Returns the configuration of a part, from its settings if it is none yet."""
    if isinstance(given, PreTrainedConfig):
        return given
    return AutoConfig.for_model(**({"model_type": default} | (given or {})))
