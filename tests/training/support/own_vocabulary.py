"""A model whose language model has all special tokens in its own tables, so that transformers alone can run it."""

from pathlib import Path
from typing import Any

from tests.training.support import tiny
from training.model.lmm import ResamplerLMM
from training.model.tokens import END_OF_CHUNK, IMAGE, PLACEHOLDER, TextTokenizer, load_tokenizer

SIZE = 256 + len(tiny.ROLES) + 4


def build(folder: Path, **language: Any) -> tuple[ResamplerLMM, TextTokenizer]:
    """The model with new weights, and its tokenizer; `language` changes the configuration of `tiny.PHI3`."""
    place = tiny.write_tokenizer(folder, [*tiny.ROLES, "<pad>", IMAGE, PLACEHOLDER, END_OF_CHUNK])
    config = tiny.PHI3 | {"vocab_size": SIZE, "eos_token_id": None} | language
    options = tiny.options(place, language={"config": config}, head_bias=False)
    model, tokenizer = ResamplerLMM.build(options).eval(), load_tokenizer(options)
    assert tokenizer.vocabulary_size == model.language.base_vocabulary_size == SIZE
    return model, tokenizer
