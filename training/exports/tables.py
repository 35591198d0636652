"""Joins the tables of the language model with the rows of the tokens that images need, which training keeps apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training.model.lmm import ResamplerLMM
from training.model.weights import list_own_keys

_LANGUAGE, _EMBEDDING = "language.lm.", "embed_tokens.weight"


@dataclass(frozen=True, slots=True)
class JoinedTables:
    """Holds tables of a row for each token of the vocabulary."""

    embeddings: Tensor  # [vocabulary, width]
    head: Tensor  # [vocabulary, width]
    bias: Tensor | None  # [vocabulary], of the head
    tied: bool  # whether the head is the embeddings


def join_tables(model: ResamplerLMM, state: Mapping[str, Tensor]) -> JoinedTables:
    """Returns the tables; rows of the language model without a token are left out.

    A tied head is tied no longer where new tokens were added, whose rows it has of its own.
    """
    language = model.language
    lm: Any = language.lm
    table, head = lm.get_input_embeddings(), lm.get_output_embeddings()
    names = {id(tensor): f"language.{name}" for name, tensor in language.named_parameters()}
    rows = language.base_vocabulary_size
    scale = float(getattr(table, "embed_scale", 1.0))  # of a table that scales what it returns, as Gemma 3's does
    embeddings = torch.cat((state[names[id(table.weight)]][:rows], state["language.added_embeddings.weight"] / scale))
    weight = torch.cat((state[names[id(head.weight)]][:rows], state["language.added_head.weight"]))
    bias = head.bias if language.head_bias is None else language.head_bias
    joined = None
    if bias is not None:
        own = state[names[id(bias)]][:rows]
        added = state.get("language.added_head.bias", own.new_zeros(len(weight) - rows))
        joined = torch.cat((own, added))
    tied = head.weight is table.weight and rows == len(weight)
    return JoinedTables(embeddings, weight, joined, tied)


def convert_decoder(model: ResamplerLMM, state: Mapping[str, Tensor], tables: JoinedTables) -> dict[str, Tensor]:
    """Returns the decoder's tensors by the names that they have in it, with the joined embeddings."""
    prefix = f"{_LANGUAGE}{model.language.lm.base_model_prefix}."
    decoder = {key.removeprefix(prefix): state[key] for key in list_own_keys(model) if key.startswith(prefix)}
    return decoder | {_EMBEDDING: tables.embeddings}


def has_common_tables(model: ResamplerLMM) -> bool:
    """Returns whether transformers would make the same decoder of its configuration, with embeddings of that name."""
    from transformers import AutoModel

    lm: Any = model.language.lm
    mapping: Any = AutoModel._model_mapping
    same = mapping.get(type(lm.config), None) is type(lm.base_model)
    return same and dict(lm.base_model.named_parameters()).get(_EMBEDDING) is lm.get_input_embeddings().weight
