"""Writes a model as transformers' own LLaVA, which needs no code in its folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from training.exports.card import write_card
from training.exports.chat_template import build_jinja
from training.exports.generation import make_generation_config
from training.exports.hf.tokenizer import has_equal_prompts, make_tokenizer
from training.exports.part_configs import make_text_config, make_vision_config
from training.exports.tables import convert_decoder, join_tables
from training.model.config import PromptOptions
from training.model.folders.new import open_export
from training.model.lmm import ResamplerLMM
from training.model.pretrained import MAX_FILE_BYTES
from training.model.tokens import IMAGE, TextTokenizer
from training.model.towers.encoder import ImageEncoder

_TOWER = "vision.model."
_PROJECTOR = {"0": "linear_1", "2": "linear_2"}
_BICUBIC = 3


def write_llava(
    model: ResamplerLMM,
    tokenizer: TextTokenizer,
    prompts: PromptOptions,
    state: Mapping[str, Tensor],
    target: Path,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> None:
    """Writes the model with these weights into a new folder. `check_format` must have let it pass."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    tables, tower = join_tables(model, state), model.vision
    assert isinstance(tower, ImageEncoder)
    config = LlavaConfig(
        vision_config=make_vision_config(tower, tables.embeddings.dtype),
        text_config=make_text_config(model, tokenizer, tables),
        image_token_index=tokenizer.special.image,
        image_seq_length=tower.cells,
        projector_hidden_act="gelu",
        vision_feature_select_strategy=_name_strategy(tower),
        vision_feature_layer=tower.feature_layer,
        tie_word_embeddings=tables.tied,
    )
    converted = {
        f"model.vision_tower.{key.removeprefix(_TOWER)}": tensor
        for key, tensor in state.items()
        if key.startswith(_TOWER)
    }
    for number, name in _PROJECTOR.items():
        for part in ("weight", "bias"):
            converted[f"model.multi_modal_projector.{name}.{part}"] = state[f"connector.projection.{number}.{part}"]
    decoder = convert_decoder(model, state, tables)
    converted |= {f"model.language_model.{key}": tensor for key, tensor in decoder.items()}
    converted["lm_head.weight"] = tables.embeddings if tables.tied else tables.head
    with torch.device("meta"):
        whole = LlavaForConditionalGeneration(config)
    whole.load_state_dict(converted, assign=True)
    whole.generation_config = make_generation_config(tokenizer, prompts)
    with open_export(target) as folder:
        processor = _make_processor(tower, tokenizer, prompts)
        whole.save_pretrained(folder, max_shard_size=max_file_bytes)
        processor.save_pretrained(folder)
        has_chat = processor.chat_template is not None
        is_exact = has_equal_prompts(processor.tokenizer, tokenizer, prompts)
        write_card(folder, "llava", model, tokenizer, prompts, has_chat, is_exact)


def _name_strategy(tower: ImageEncoder) -> Literal["default", "full"]:
    """Returns which features of the tower are used: all, or all but the class token."""
    return "default" if tower.family.has_class_token else "full"


def _make_processor(tower: ImageEncoder, tokenizer: TextTokenizer, prompts: PromptOptions) -> Any:
    """Makes transformers' processor, whose images are squashed to the tower's size, as in training.

    Pillow resizes them, not torch: both are as near to the exact values, and differ by a grey level here and there.
    """
    from transformers import LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    side = {"height": tower.image_size, "width": tower.image_size}
    image_processor = CLIPImageProcessorPil(
        size=side,
        crop_size=side,
        do_center_crop=False,
        resample=_BICUBIC,
        image_mean=list(tower.family.mean),
        image_std=list(tower.family.deviation),
    )
    template = build_jinja(tokenizer, prompts)
    return LlavaProcessor(  # type: ignore[no-untyped-call]
        image_processor=image_processor,
        tokenizer=make_tokenizer(tokenizer, prompts, template),
        patch_size=tower.patch_size,
        vision_feature_select_strategy=_name_strategy(tower),
        chat_template=template,
        image_token=IMAGE,
        num_additional_image_tokens=int(tower.family.has_class_token),
    )
