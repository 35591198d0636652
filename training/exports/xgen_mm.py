"""Writes a model under the names of the released xGen-MM (BLIP-3), for programs that read these.

The configuration refers to the released code on the hub, which is not in the folder. That code makes a resampler of the
paper's depth and heads, and asks for FlashAttention and transformers 4.41.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from training.exports.generation import make_generation_config
from training.model.config import PromptOptions
from training.model.folders.new import open_export
from training.model.lmm import ResamplerLMM
from training.model.part_configs import dump_config
from training.model.pretrained import CONFIG_FILE, MAX_FILE_BYTES, write_weights
from training.model.tokens import TextTokenizer
from training.model.weights import list_own_keys
from training.model.xgen_mm import map_to_released_key

_PREFIX = "vlm."
_CODE = "Salesforce/xgen-mm-phi3-mini-base-r-v1.5--modeling_xgenmm"
_CLASS = "XGenMMModelForConditionalGeneration"


def write_xgen_mm(
    model: ResamplerLMM,
    tokenizer: TextTokenizer,
    prompts: PromptOptions,
    state: Mapping[str, Tensor],
    target: Path,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> None:
    """Writes the model with these weights into a new folder. `check_format` must have let it pass."""
    tensors = {_PREFIX + map_to_released_key(key): state[key] for key in list_own_keys(model)}
    with open_export(target) as folder:
        write_weights(folder, tensors, max_file_bytes)
        for name, content in tokenizer.build_files().items():
            (folder / name).write_bytes(content)
        config = json.dumps(_describe(model, next(iter(tensors.values()))), indent=1)
        (folder / CONFIG_FILE).write_text(config, "utf-8")
        make_generation_config(tokenizer, prompts).save_pretrained(folder)


def _describe(model: ResamplerLMM, weight: Tensor) -> dict[str, Any]:
    """Returns a config.json as the released one, with the settings that its code would take defaults for."""
    tiling, dtype = model.options.any_resolution, str(weight.dtype).removeprefix("torch.")
    aspect = "anyres" if tiling.enabled else "none"
    text = dump_config(model.language.lm.config)
    return {
        "architectures": [_CLASS],
        "auto_map": {"AutoConfig": f"{_CODE}.XGenMMConfig", "AutoModelForVision2Seq": f"{_CODE}.{_CLASS}"},
        "model_type": "xgenmm",
        "text_config": text | {"initial_tokenizer_len": model.language.base_vocabulary_size, "torch_dtype": dtype},
        "torch_dtype": dtype,
        "vision_encoder_config": {
            "anyres_patch_sampling": True,
            "image_aspect_ratio": aspect,
            "model_type": "xgenmm_vision_encoder",
        },
        "vision_tokenizer_config": {
            "image_aspect_ratio": aspect,
            "lang_embedding_dim": model.language.width,
            "model_type": "xgenmm_vision_tokenizer",
            "num_vis_tokens": model.tokens_per_tile,
            "vis_feature_dim": model.vision.width,
        },
    }
