"""Makes the configurations of an export's parts, with all their settings."""

from typing import Any

import torch

from training.exports.tables import JoinedTables
from training.model.lmm import ResamplerLMM
from training.model.part_configs import dump_config, dump_vision_config
from training.model.tokens import TextTokenizer
from training.model.towers.encoder import ImageEncoder


def make_vision_config(tower: ImageEncoder, dtype: torch.dtype) -> Any:
    """Returns the tower's configuration."""
    from transformers import AutoConfig

    return AutoConfig.for_model(**dump_vision_config(tower.get_config()), dtype=dtype)


def make_text_config(model: ResamplerLMM, tokenizer: TextTokenizer, tables: JoinedTables) -> Any:
    """Returns the decoder's configuration with the whole vocabulary."""
    from transformers import AutoConfig

    settings: dict[str, Any] = dump_config(model.language.lm.config) | {
        "vocab_size": len(tables.embeddings),
        "pad_token_id": tokenizer.special.pad,
        "eos_token_id": tokenizer.special.end,
        "bos_token_id": tokenizer.bos,
        "tie_word_embeddings": tables.tied,
        "dtype": tables.embeddings.dtype,
    }
    return AutoConfig.for_model(**settings)
