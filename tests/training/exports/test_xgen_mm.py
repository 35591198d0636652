"""An export under the released names of xGen-MM holds every tensor, and loads as the released weights do."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.training.model.test_xgen_mm import TINY
from tests.training.support import exported
from training.exports.formats import check_format
from training.exports.xgen_mm import write_xgen_mm
from training.model.pretrained import build_model
from training.model.weights import list_own_keys


def test_released_names(tokenizer: Path, tmp_path: Path) -> None:
    made = exported.make(tokenizer, any_resolution={"enabled": True, "tile_order": "reference"})
    check_format(made.model, "xgen-mm")
    write_xgen_mm(made.model, made.tokenizer, made.prompts, made.state, tmp_path / "export")
    tensors = load_file(tmp_path / "export/model.safetensors")
    assert {key: tuple(tensor.shape) for key, tensor in tensors.items()} == {
        f"vlm.{key}": shape for key, shape in TINY.items()
    }
    again = build_model(made.model.options, weights=str(tmp_path / "export")).state_dict()
    assert all(torch.equal(again[key], made.state[key]) for key in list_own_keys(made.model))


def test_the_configuration_of_any_resolution(tokenizer: Path, tmp_path: Path) -> None:
    made = exported.make(tokenizer, any_resolution={"enabled": True, "tile_order": "reference"})
    write_xgen_mm(made.model, made.tokenizer, made.prompts, made.state, tmp_path / "export")
    config = json.loads((tmp_path / "export/config.json").read_text())
    parts = ("vision_encoder_config", "vision_tokenizer_config")
    assert [config[part]["image_aspect_ratio"] for part in parts] == ["anyres", "anyres"]


def test_the_configuration_is_as_released(tokenizer: Path, tmp_path: Path) -> None:
    made = exported.make(tokenizer)
    write_xgen_mm(made.model, made.tokenizer, made.prompts, made.state, tmp_path / "export")
    config = json.loads((tmp_path / "export/config.json").read_text())
    text = config.pop("text_config")
    assert (text["model_type"], text["initial_tokenizer_len"], text["torch_dtype"]) == ("phi3", 262, "float32")
    assert config == {
        "architectures": ["XGenMMModelForConditionalGeneration"],
        "auto_map": {
            "AutoConfig": "Salesforce/xgen-mm-phi3-mini-base-r-v1.5--modeling_xgenmm.XGenMMConfig",
            "AutoModelForVision2Seq": "Salesforce/xgen-mm-phi3-mini-base-r-v1.5--modeling_xgenmm."
            "XGenMMModelForConditionalGeneration",
        },
        "model_type": "xgenmm",
        "torch_dtype": "float32",
        "vision_encoder_config": {
            "anyres_patch_sampling": True,
            "image_aspect_ratio": "none",
            "model_type": "xgenmm_vision_encoder",
        },
        "vision_tokenizer_config": {
            "image_aspect_ratio": "none",
            "lang_embedding_dim": 64,
            "model_type": "xgenmm_vision_tokenizer",
            "num_vis_tokens": 4,
            "vis_feature_dim": 32,
        },
    }
