"""Writes a model for transformers: the whole loads with the code in its folder, and generates."""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.data.chat import ChatTemplate
from training.exports.card import write_card
from training.exports.chat_template import build_jinja
from training.exports.generation import make_generation_config
from training.exports.hf.code import CONFIGURATION, IMAGE_PROCESSING, MODELING, PROCESSING, write_code
from training.exports.hf.configuration import ShardloomConfig
from training.exports.hf.tokenizer import has_equal_prompts, make_tokenizer
from training.exports.part_configs import make_text_config, make_vision_config
from training.exports.tables import JoinedTables, convert_decoder, join_tables
from training.model.config import PromptOptions
from training.model.connector import Connector, InstructedConnector
from training.model.folders.new import open_export
from training.model.lmm import ResamplerLMM
from training.model.pretrained import MAX_FILE_BYTES
from training.model.tokens import IMAGE, TextTokenizer
from training.model.towers.encoder import ImageEncoder
from training.model.weights import list_own_keys

_PARTS = (("vision.", "model.vision_tower."), ("connector.", "model.connector."))
_PROCESSOR_MAP = {"AutoProcessor": f"{PROCESSING}.ShardloomProcessor"}


def write_hf(
    model: ResamplerLMM,
    tokenizer: TextTokenizer,
    prompts: PromptOptions,
    state: Mapping[str, Tensor],
    target: Path,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> None:
    """Writes the model with these weights into a new folder. `check_format` must have let it pass."""
    tables = join_tables(model, state)
    with open_export(target) as folder:
        processor = make_processor(model, tokenizer, prompts)
        write_code(folder, model.connector)
        whole = _build_whole(_make_config(model, tokenizer, tables), _convert_state(model, state, tables))
        whole.generation_config = make_generation_config(tokenizer, prompts)
        whole.save_pretrained(folder, max_shard_size=max_file_bytes)
        processor.save_pretrained(folder)
        has_chat = processor.chat_template is not None
        is_exact = has_equal_prompts(processor.tokenizer, tokenizer, prompts)
        write_card(folder, "hf", model, tokenizer, prompts, has_chat, is_exact)


def describe_connector(connector: Connector) -> dict[str, Any]:
    """Returns the name of a connector's class and its arguments, from which `build_connector` makes it."""
    arguments = {
        name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in connector.arguments.items()
    }
    return {"class": type(connector).__name__, "arguments": arguments}


def _make_config(model: ResamplerLMM, tokenizer: TextTokenizer, tables: JoinedTables) -> ShardloomConfig:
    tower = model.vision
    assert isinstance(tower, ImageEncoder)
    config = ShardloomConfig(
        vision_config=make_vision_config(tower, tables.embeddings.dtype),
        text_config=make_text_config(model, tokenizer, tables),
        connector=describe_connector(model.connector),
        tiling=_dump_tiling(model),
        feature_layer=tower.feature_layer,
        tile_size=tower.image_size,
        image_token_id=tokenizer.special.image,
        head_bias=tables.bias is not None,
        tie_word_embeddings=tables.tied,
    )
    config.auto_map = {
        "AutoConfig": f"{CONFIGURATION}.ShardloomConfig",
        "AutoModel": f"{MODELING}.ShardloomModel",
        "AutoModelForImageTextToText": f"{MODELING}.ShardloomForConditionalGeneration",
    }
    return config


def _convert_state(model: ResamplerLMM, state: Mapping[str, Tensor], tables: JoinedTables) -> dict[str, Tensor]:
    converted = {
        theirs + key.removeprefix(ours): state[key]
        for key in list_own_keys(model)
        for ours, theirs in _PARTS
        if key.startswith(ours)
    }
    decoder = convert_decoder(model, state, tables)
    converted |= {f"model.language_model.{key}": tensor for key, tensor in decoder.items()}
    converted["lm_head.weight"] = tables.embeddings if tables.tied else tables.head
    if tables.bias is not None:
        converted["lm_head.bias"] = tables.bias
    return converted


def _build_whole(config: ShardloomConfig, state: Mapping[str, Tensor]) -> Any:
    """Builds the model around these tensors; buffers that are not saved stay on `meta`."""
    from training.exports.hf.modeling import ShardloomForConditionalGeneration

    with torch.device("meta"):
        whole = ShardloomForConditionalGeneration(config)
    whole.load_state_dict(state, assign=True)
    return whole


def make_processor(model: ResamplerLMM, tokenizer: TextTokenizer, prompts: PromptOptions) -> Any:
    """Returns the processor, with the tokenizer and the image processor."""
    from training.exports.hf.image_processing import ShardloomImageProcessor
    from training.exports.hf.processing import ShardloomProcessor

    tower, template = model.vision, build_jinja(tokenizer, prompts)
    assert isinstance(tower, ImageEncoder)
    image_processor = ShardloomImageProcessor(
        tiling=_dump_tiling(model),
        patch_size=tower.patch_size,
        size={"height": tower.image_size, "width": tower.image_size},
        image_mean=list(tower.family.mean),
        image_std=list(tower.family.deviation),
    )
    made = make_tokenizer(tokenizer, prompts, template)
    # transformers names the processor's class in each file when it saves what it has loaded.
    image_processor.auto_map = {"AutoImageProcessor": f"{IMAGE_PROCESSING}.ShardloomImageProcessor"} | _PROCESSOR_MAP
    made.init_kwargs["auto_map"] = dict(_PROCESSOR_MAP)
    connector = model.connector
    most = connector.max_instruction if isinstance(connector, InstructedConnector) else 0
    processor = ShardloomProcessor(
        image_processor,
        made,
        chat_template=template,
        tokens_per_tile=model.tokens_per_tile,
        image_token=IMAGE,
        max_instruction=most,
        turn_marks=_find_turn_marks(tokenizer, prompts) if most and template is not None else None,
    )
    processor.auto_map = dict(_PROCESSOR_MAP)
    return processor


def _find_turn_marks(tokenizer: TextTokenizer, prompts: PromptOptions) -> list[str]:
    """Returns the texts around the words of a user's turn."""
    chat = ChatTemplate.from_prompts(tokenizer, prompts)
    return [tokenizer.decode(ids) for ids in (chat.openings["user"], chat.closings["user"])]


def _dump_tiling(model: ResamplerLMM) -> dict[str, Any]:
    """Returns how images become tiles; also settings that recipes leave out where they have their default."""
    options = model.options.any_resolution
    return {name: getattr(options, name) for name in type(options).model_fields} | {
        "grids": [list(grid) for grid in options.grids]
    }
