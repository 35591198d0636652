"""Models and tokenizers that are small enough to train in a test, and a tokenizer as large as Phi-3's."""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from training.model.config import ModelOptions

ROLES = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]

VISION = {
    "image_size": 56,
    "patch_size": 14,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
RESAMPLER = {"depth": 1, "heads": 2, "head_dim": 16, "latents": 4}
PHI3 = {
    "model_type": "phi3",
    "vocab_size": 272,  # more rows than tokens, as Phi-3 itself
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": 256,
    "pad_token_id": None,
}


def write_tokenizer(folder: Path) -> Path:
    """A tokenizer of bytes: 256 of them, 5 special tokens behind; so `<pad>` is 261 and `<image>` 262."""
    tokenizer = Tokenizer(BPE({letter: number for number, letter in enumerate(sorted(ByteLevel.alphabet()))}, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([AddedToken(role, normalized=False) for role in ROLES])
    return _save(tokenizer, folder)


def write_phi3_tokenizer(folder: Path) -> Path:
    """As many tokens as Phi-3's 32011, the special ones in its places."""
    tokenizer = Tokenizer(BPE({f"piece {number}": number for number in range(32000)}, []))
    names = ["<|endoftext|>", "<|assistant|>", *(f"<|placeholder{n}|>" for n in (1, 2, 3, 4)), "<|system|>", "<|end|>"]
    tokenizer.add_special_tokens([*names, "<|placeholder5|>", "<|placeholder6|>", "<|user|>"])
    return _save(tokenizer, folder)


def options(tokenizer: Path, **changes: Any) -> ModelOptions:
    """A model of about 100,000 parameters; `changes` as in `ModelOptions`."""
    plain = {"vision": {"config": VISION}, "resampler": RESAMPLER, "language": {"config": PHI3}}
    return ModelOptions.model_validate(plain | {"tokenizer": str(tokenizer)} | changes)


def _save(tokenizer: Tokenizer, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
