"""What vLLM's backend for models of transformers asks of an export, rule by rule, since vLLM itself can't run here.

The rules are those of its page on supported models ("Writing custom models"), of transformers' page on inference
backends ("Multimodal models"), and of what vLLM's `models/transformers` calls.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from transformers import AutoConfig, AutoModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tests.training.support import exported, load_export, tiny

ANY_RESOLUTION = {"enabled": True, "grids": [[2, 1], [1, 2]]}
TOKENS = tiny.TOKENS_PER_TILE


@pytest.fixture(scope="module", autouse=True)
def _code_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with exported.modules_in(tmp_path_factory.mktemp("modules")):
        yield


@pytest.fixture(scope="module")
def folder(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = exported.make(tokenizer, any_resolution=ANY_RESOLUTION)
    return exported.write(made, tmp_path_factory.mktemp("vllm") / "export")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> tuple[Any, Any]:
    return load_export.load(folder)


@pytest.fixture(scope="module")
def inputs(loaded: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    pictures = exported.write_pictures(tmp_path_factory.mktemp("pictures"))
    return load_export.prepare(loaded[1], exported.conversations(pictures))


def make_base(folder: Path) -> Any:
    """The base as vLLM makes it: on `meta`, of the configuration alone."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    with torch.device("meta"):
        return AutoModel.from_config(config, trust_remote_code=True)


def test_the_folder_names_the_base(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["ShardloomForConditionalGeneration"]
    assert config["auto_map"] == {
        "AutoConfig": "configuration_shardloom.ShardloomConfig",
        "AutoModel": "modeling_shardloom.ShardloomModel",
        "AutoModelForImageTextToText": "modeling_shardloom.ShardloomForConditionalGeneration",
    }
    assert {config["text_config"]["model_type"], config["vision_config"]["model_type"]} == {
        "phi3",
        "siglip_vision_model",
    }
    assert type(make_base(folder)).__name__ == "ShardloomModel"


def test_the_attention_backend_is_supported(folder: Path) -> None:
    base = make_base(folder)
    assert base.is_backend_compatible()
    assert base._supports_attention_backend
    assert base.base_model_prefix == "model"


def test_arguments_go_down_to_the_attention(folder: Path) -> None:
    """vLLM names its own function in the text's configuration alone, and passes its instances through the base."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    seen: list[tuple[int, Any]] = []

    def probe(module: nn.Module, query: Any, *_: Any, **kwargs: Any) -> tuple[Any, None]:
        seen.append((module.layer_idx, kwargs["attention_instances"]))  # type: ignore[arg-type]
        return query.transpose(1, 2).contiguous(), None

    ALL_ATTENTION_FUNCTIONS.register("probe", probe)
    config.text_config._attn_implementation = "probe"
    base = AutoModel.from_config(config, trust_remote_code=True)
    instances, width = {0: "first", 1: "second"}, config.text_config.hidden_size
    out = base(
        input_ids=None,
        inputs_embeds=torch.zeros((1, 5, width)),
        use_cache=False,
        position_ids=torch.arange(5)[None],
        attention_instances=instances,
        return_dict=False,
    )
    assert isinstance(out, tuple)
    assert out[0].shape == (1, 5, width)
    assert seen == [(0, instances), (1, instances)]
    base.get_image_features(torch.zeros((1, 3, 56, 56)))  # the tower has its own
    assert len(seen) == 2


def test_only_the_decoder_is_causal(folder: Path) -> None:
    base = make_base(folder)
    causal = {
        name.partition(".")[0]: module.is_causal
        for name, module in base.named_modules()
        if hasattr(module, "is_causal")
    }
    assert causal == {"vision_tower": False, "language_model": True}
    assert base.get_decoder() is base.language_model
    assert [name for name, child in base.get_decoder().named_children() if isinstance(child, nn.ModuleList)] == [
        "layers"
    ]


def test_tables_have_a_row_for_each_token(folder: Path, loaded: tuple[Any, Any]) -> None:
    """vLLM puts its own tables in their places, of the sizes in the text's configuration."""
    base, config = make_base(folder), loaded[0].config
    rows, width = config.text_config.vocab_size, config.text_config.hidden_size
    assert base.get_input_embeddings().weight.shape == loaded[0].lm_head.weight.shape == (rows, width)
    assert len(loaded[1].tokenizer) == rows == 265
    other = nn.Embedding(rows, width)
    base.set_input_embeddings(other)
    assert base.language_model.embed_tokens is other
    children = {f"model.{name}" for name, _ in base.named_children()}
    assert children == {"model.vision_tower", "model.connector", "model.language_model"}
    keys = set(loaded[0].state_dict())
    assert {key for key in keys if ".".join(key.split(".")[:2]) not in children} == {"lm_head.weight", "lm_head.bias"}
    assert config.tie_word_embeddings is config.text_config.tie_word_embeddings is False


def test_each_image_is_encoded_by_its_rows(loaded: tuple[Any, Any], inputs: dict[str, torch.Tensor]) -> None:
    """vLLM keeps the inputs of an image apart, by so many rows of each as there are tiles, and may join others'."""
    model, processor = loaded
    images = {name: inputs[name] for name in processor.image_processor.model_input_names}
    counted = processor._get_num_multimodal_tokens(image_sizes=[(height, width) for width, height in exported.SIZES])
    assert counted["num_image_patches"] == [3, 3, 3]
    assert counted["num_image_tokens"] == [3 * TOKENS] * 3
    assert {len(rows) for rows in images.values()} == {9}
    whole = model.get_image_features(**images).pooler_output
    assert [len(tokens) for tokens in whole] == counted["num_image_tokens"]
    for number, tokens in enumerate(whole):
        own = {name: rows[3 * number : 3 * number + 3] for name, rows in images.items()}
        (alone,) = model.model.get_image_features(**own, return_dict=True).pooler_output
        assert (alone - tokens).abs().max() < 1e-5


def test_the_processor_marks_images(loaded: tuple[Any, Any]) -> None:
    processor = loaded[1]
    assert (processor.image_token, processor.image_token_id, processor.image_token_ids) == ("<image>", 262, [262])
    assert loaded[0].config.image_token_id == 262
    picture = Image.new("RGB", (96, 48), "red")
    asked = {"images": [picture], "text": "ab<image>c", "return_mm_token_type_ids": True}
    out = processor(**asked, return_text_replacement_offsets=True)
    assert out["input_ids"] == [[97, 98, *[262] * 12, 99]]
    assert out["mm_token_type_ids"] == [[0, 0, *[1] * 12, 0]]
    (offset,) = out["text_replacement_offsets"][0]
    assert (offset["type"], offset["text"], offset["replacement"]) == ("image", "<image>", "<image>" * 12)
    assert processor.image_processor.size["height"] == 56  # bounds the largest image, with which memory is measured
    assert processor._get_num_multimodal_tokens(image_sizes=[(10_000, 10_000)])["num_image_tokens"] == [12]
