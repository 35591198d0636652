"""Runs an exported model in transformers: the base without a head, and the whole, which generates.

The tower, the connector and the arithmetic of tiles are those of training; the exporter copies them before this code.
"""

from dataclasses import is_dataclass
from types import SimpleNamespace
from typing import Any, cast, get_type_hints

import torch
from torch import Tensor, nn
from transformers import AutoModel, GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling, CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple

from training.exports.hf.configuration import ShardloomConfig
from training.exports.hf.grids import list_image_grids
from training.model.connector import Connector, InstructedConnector
from training.model.tiling_options import AnyResolutionOptions
from training.model.towers.cell_groups import find_shown_cells, group_cells
from training.model.towers.encoder import ImageEncoder
from training.model.towers.families import FAMILIES


class ShardloomPreTrainedModel(PreTrainedModel):
    """Declares what transformers, and vLLM's backend for its models, may do with the model."""

    config_class = ShardloomConfig
    base_model_prefix = "model"
    input_modalities = ["image", "text"]  # noqa: RUF012
    _no_split_modules = ["ImageEncoder"]  # noqa: RUF012 - as transformers has it
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True


class ShardloomModel(ShardloomPreTrainedModel):
    """Joins the tower, the connector and the decoder."""

    def __init__(self, config: ShardloomConfig) -> None:
        super().__init__(config)
        family = FAMILIES[config.vision_config.model_type]
        encoder = AutoModel.from_config(config.vision_config)
        self.vision_tower = ImageEncoder(encoder, family, config.feature_layer, config.tile_size)
        self.connector = build_connector(config.connector)
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()

    @can_return_tuple
    def get_image_features(
        self,
        pixel_values: Tensor,
        valid_cells: Tensor | None = None,
        tile_grids: Tensor | None = None,
        instruction_ids: Tensor | None = None,
        instruction_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """Returns the tokens of each image, in a list, as `pooler_output`.

        Each tile has a row: its pixels [K, 3, S, S], the cells [K, cells] that show the picture, the columns and rows
        [K, 2] of its image's grid, 0 and 0 for one tile alone, and the words [K, L] of the instruction, for a
        connector that they condition. The defaults are single tiles that show the picture everywhere.
        """
        tiles, tower = len(pixel_values), self.vision_tower
        device = pixel_values.device
        valid = torch.ones((tiles, tower.cells), dtype=torch.bool, device=device)
        if valid_cells is not None:
            valid = valid_cells.to(device, torch.bool)
        grids = torch.tensor(list_image_grids(torch.zeros((tiles, 2)) if tile_grids is None else tile_grids))
        features = tower.encode(pixel_values.to(self.dtype), find_shown_cells(valid, grids.to(device)))
        options = cast("AnyResolutionOptions", SimpleNamespace(**self.config.tiling))
        cells, mask = group_cells(features, valid, grids, options)
        words: tuple[Tensor, ...] = ()
        if isinstance(self.connector, InstructedConnector) and instruction_ids is not None:
            counts = (grids.prod(dim=1) + 1).tolist()
            first = torch.tensor([sum(counts[:number]) for number in range(len(counts))], device=device)
            rows = first if len(cells) < tiles else torch.arange(tiles, device=device)
            present = torch.ones_like(instruction_ids) if instruction_mask is None else instruction_mask
            words = (self.get_input_embeddings()(instruction_ids[rows]), present[rows].to(torch.bool))
        tokens = self.connector(cells, mask, *words)
        if len(cells) == len(grids):
            return BaseModelOutputWithPooling(features, cast(Any, list(tokens)))
        split = torch.split(tokens, (grids.prod(dim=1) + 1).tolist())
        return BaseModelOutputWithPooling(features, cast(Any, [image.flatten(0, 1) for image in split]))

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        valid_cells: Tensor | None = None,
        tile_grids: Tensor | None = None,
        instruction_ids: Tensor | None = None,
        instruction_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        mm_encoder_outputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Returns the hidden states after the last norm; what is not named here goes down to the decoder's attention.

        Images are given as pixels, as in `get_image_features`, or as its result under `image` of `mm_encoder_outputs`.
        Raises `ValueError` when images and their places in the text do not match.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("pass either input_ids or inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        images = (mm_encoder_outputs or {}).get("image")
        if images is None and pixel_values is not None:
            images = self.get_image_features(pixel_values, valid_cells, tile_grids, instruction_ids, instruction_mask)
        if images is not None:
            if input_ids is None:
                raise ValueError("images need input_ids, which say where their tokens go")
            tokens = torch.cat(list(images.pooler_output)).to(inputs_embeds)
            places = input_ids == self.config.image_token_id
            if int(places.sum()) != len(tokens):
                raise ValueError(f"{int(places.sum())} places for image tokens, and {len(tokens)} image tokens")
            inputs_embeds = inputs_embeds.masked_scatter(places[..., None], tokens)
        out = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **kwargs,
        )
        return BaseModelOutputWithPast(
            last_hidden_state=out.last_hidden_state,
            past_key_values=out.past_key_values,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )


class ShardloomForConditionalGeneration(ShardloomPreTrainedModel, GenerationMixin):
    """Adds the head to `ShardloomModel`."""

    _tied_weights_keys = {  # noqa: RUF012 - as transformers has it
        "lm_head.weight": "model.language_model.embed_tokens.weight"
    }

    def __init__(self, config: ShardloomConfig) -> None:
        super().__init__(config)
        self.model = ShardloomModel(config)
        text = config.text_config
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=config.head_bias)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """Returns the head."""
        return self.lm_head

    def get_image_features(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Returns the tokens of images, as `ShardloomModel.get_image_features` does."""
        return cast(BaseModelOutputWithPooling, self.model.get_image_features(pixel_values, **kwargs))

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        valid_cells: Tensor | None = None,
        tile_grids: Tensor | None = None,
        instruction_ids: Tensor | None = None,
        instruction_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        mm_encoder_outputs: dict[str, Any] | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Returns the logits, of the last `logits_to_keep` positions if that is not 0, and with `labels` the loss."""
        out = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            valid_cells=valid_cells,
            tile_grids=tile_grids,
            instruction_ids=instruction_ids,
            instruction_mask=instruction_mask,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            mm_encoder_outputs=mm_encoder_outputs,
            return_dict=True,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(out.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.text_config.vocab_size, **kwargs
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=out.past_key_values,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )


def build_connector(described: dict[str, Any]) -> Connector:
    """Makes the connector that the configuration describes. Raises `ValueError` for one that is not in this file."""
    classes: list[Any] = [Connector]
    for one in classes:
        classes += one.__subclasses__()
    found: Any = next((one for one in classes if one.__name__ == described["class"]), None)
    if found is None:
        raise ValueError(f"this file has no connector {described['class']}: it belongs to another model")
    hints = get_type_hints(found.__init__)
    arguments = {
        name: hints[name](**value) if is_dataclass(hints.get(name)) else value
        for name, value in described["arguments"].items()
    }
    return cast(Connector, found(**arguments))
