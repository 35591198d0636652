"""The models that the recipes name on the hub: configurations and a tokenizer, without weights."""

import json
from pathlib import Path
from typing import Any

from tests.training.support import tiny

Configuration = dict[str, Any]


def siglip(size: int, patch: int, width: int, inner: int, layers: int) -> Configuration:
    """A SigLIP tower with its pooling head."""
    sizes = {"image_size": size, "patch_size": patch, "hidden_size": width, "intermediate_size": inner}
    heads = {"num_hidden_layers": layers, "num_attention_heads": 16, "vision_use_head": True}
    return {"model_type": "siglip_vision_model"} | sizes | heads


def clip(size: int, width: int, layers: int, activation: str) -> Configuration:
    """A CLIP tower in patches of 14 pixels."""
    sizes = {"image_size": size, "patch_size": 14, "hidden_size": width, "intermediate_size": 4 * width}
    heads = {"num_hidden_layers": layers, "num_attention_heads": 16, "hidden_act": activation}
    return {"model_type": "clip_vision_model"} | sizes | heads


def causal(
    kind: str, rows: int, width: int, inner: int, layers: int, heads: int, groups: int, context: int
) -> Configuration:
    """A language model with `groups` key-value heads and a context of so many positions."""
    sizes = {"vocab_size": rows, "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers}
    attention = {"num_attention_heads": heads, "num_key_value_heads": groups, "max_position_embeddings": context}
    return {"model_type": kind} | sizes | attention


CONFIGURATIONS: dict[str, Configuration] = {
    "google/siglip-so400m-patch14-384": siglip(384, 14, 1152, 4304, 27),
    "google/siglip-large-patch16-384": siglip(384, 16, 1024, 4096, 24),
    "openai/clip-vit-large-patch14": clip(224, 1024, 24, "quick_gelu"),
    "openai/clip-vit-large-patch14-336": clip(336, 1024, 24, "quick_gelu"),
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": clip(224, 1280, 32, "gelu"),
    "apple/DFN5B-CLIP-ViT-H-14": clip(224, 1280, 32, "quick_gelu"),
    "apple/DFN5B-CLIP-ViT-H-14-378": clip(378, 1280, 32, "quick_gelu"),
    "microsoft/Phi-3-mini-4k-instruct": causal("phi3", 32064, 3072, 8192, 32, 32, 32, 4096),
    "TinyLlama/TinyLlama_v1.1": causal("llama", 32000, 2048, 5632, 22, 32, 4, 2048),
    "princeton-nlp/Sheared-LLaMA-1.3B": causal("llama", 32000, 2048, 5504, 24, 16, 16, 4096),
    "princeton-nlp/Sheared-LLaMA-2.7B": causal("llama", 32000, 2560, 6912, 32, 20, 20, 4096),
    "huggyllama/llama-7b": causal("llama", 32000, 4096, 11008, 32, 32, 32, 2048),
    "meta-llama/Meta-Llama-3-8B-Instruct": causal("llama", 128256, 4096, 14336, 32, 32, 8, 8192),
    "mistralai/Mistral-7B-v0.1": causal("mistral", 32000, 4096, 14336, 32, 32, 8, 32768) | {"sliding_window": 4096},
    "01-ai/Yi-34B": causal("llama", 64000, 7168, 20480, 60, 56, 8, 4096),
}
"""By name, as the config.json of each describes it."""


def write_hub(cache: Path) -> None:
    """Writes a cache of the hub with a configuration and a tokenizer for each model."""
    for name, configuration in CONFIGURATIONS.items():
        folder = cache / f"models--{name.replace('/', '--')}"
        files = tiny.write_tokenizer(folder / "snapshots/1")
        (files / "config.json").write_text(json.dumps(configuration))
        (folder / "refs").mkdir()
        (folder / "refs/main").write_text("1")
