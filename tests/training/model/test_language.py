"""The tables' new rows, apart from the published ones; one behaviour for all of transformers' models."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Phi3Config, Phi3ForCausalLM

from schemas.errors import UsageError
from tests.training.support import tiny
from training.model.config import PartOptions
from training.model.language import LanguageModel, build_causal_model

FAMILIES = {
    "phi3": tiny.PHI3,
    "phi3 with a window": tiny.PHI3 | {"sliding_window": 3},
    "llama": tiny.PHI3 | {"model_type": "llama", "num_key_value_heads": 2},
    "tied": tiny.PHI3 | {"model_type": "llama", "tie_word_embeddings": True},
    "qwen2": tiny.PHI3 | {"model_type": "qwen2", "num_key_value_heads": 2, "tie_word_embeddings": True},
    "qwen2 with both kinds of layers": tiny.PHI3
    | {
        "model_type": "qwen2",
        "num_key_value_heads": 4,
        "use_sliding_window": True,
        "sliding_window": 3,
        "max_window_layers": 1,
    },
}


def language(config: dict[str, object], head_bias: bool = True, own: int = 262, length: int = 265) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(build_causal_model(PartOptions(config=config), "sdpa", False), own, length, head_bias)


@pytest.mark.parametrize("name", FAMILIES)
def test_for_its_own_tokens_it_is_transformers_model(name: str) -> None:
    model = language(FAMILIES[name])
    tokens = torch.randint(262, (2, 12), generator=torch.Generator().manual_seed(1))
    segments, positions = torch.zeros_like(tokens), torch.arange(12).expand(2, -1)
    embeddings = model.embed(tokens)
    assert torch.equal(embeddings, model.lm.get_input_embeddings()(tokens))
    logits = model.compute_logits(model(embeddings, model.build_mask(segments, embeddings.dtype), positions))
    assert logits.shape == (2, 12, 265)
    theirs = model.lm(tokens).logits[..., :262]
    torch.testing.assert_close(logits[..., :262], theirs, atol=1e-6, rtol=0)


def test_new_rows_are_their_own() -> None:
    model = language(tiny.PHI3)
    tokens = torch.tensor([[5, 262, 264]])
    embeddings = model.embed(tokens)
    assert torch.equal(embeddings[0, 1:], model.added_embeddings.weight[[0, 2]])
    hidden = torch.randn(3, 64)
    logits = model.compute_logits(hidden)
    assert torch.equal(logits[:, 262:], model.added_head(hidden))
    assert model.head_bias is not None
    assert torch.equal(model.head_bias, torch.zeros(272))
    with torch.no_grad():
        model.head_bias[7] = 2
    assert torch.equal(model.compute_logits(hidden)[:, 7], logits[:, 7] + 2)
    logits.sum().backward()
    assert model.added_embeddings.weight.std().item() == pytest.approx(0.02, rel=0.3)


def test_without_a_bias_there_is_none() -> None:
    model = language(tiny.PHI3, head_bias=False)
    assert model.head_bias is None
    assert model.added_head.bias is None
    added = sum(parameter.numel() for parameter in model.parameters()) - model.lm.num_parameters()
    assert added == 2 * 3 * 64


def test_the_end_of_text_learns_though_it_is_phi3s_pad() -> None:
    model = language(tiny.PHI3 | {"pad_token_id": 256})
    model.embed(torch.tensor([[256]])).sum().backward()
    assert torch.equal(model.lm.get_input_embeddings().weight.grad[256], torch.ones(64))


def test_a_pad_beyond_the_models_rows_is_a_new_row() -> None:
    model = language(tiny.PHI3 | {"vocab_size": 261})
    assert (model.base_vocabulary_size, model.vocabulary_size, model.added_embeddings.num_embeddings) == (261, 265, 4)
    assert model.compute_logits(model.embed(torch.tensor([[260, 261, 264]]))).shape == (1, 3, 265)
    with pytest.raises(
        UsageError, match=r"^language: the model has 200 tokens and the tokenizer 262; pass the model's"
    ):
        language(tiny.PHI3 | {"vocab_size": 200, "eos_token_id": 1})


def test_a_tokenizer_that_has_all_tokens_needs_no_rows() -> None:
    model = language(tiny.PHI3, own=265)
    tokens = torch.tensor([[5, 264]])
    assert torch.equal(model.embed(tokens), model.lm.get_input_embeddings()(tokens))
    assert model.compute_logits(model.embed(tokens)).shape == (1, 2, 265)


def test_from_a_folder(tmp_path: Path) -> None:
    torch.manual_seed(3)
    config = {key: value for key, value in tiny.PHI3.items() if key != "model_type"}
    saved = Phi3ForCausalLM(Phi3Config(**config)).bfloat16()
    saved.config.auto_map = {"AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}  # as on the hub: code of its own
    saved.save_pretrained(tmp_path)
    options = PartOptions(pretrained=str(tmp_path))
    model = build_causal_model(options, "eager", False)
    assert type(model) is Phi3ForCausalLM
    assert model.config._attn_implementation == "eager"
    for key, tensor in saved.state_dict().items():
        assert torch.equal(model.state_dict()[key], tensor.float())


MIXTURES = {
    "mixtral": {"num_local_experts": 2},
    "qwen2_moe": {"num_experts": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32},
    "granitemoe": {"num_local_experts": 2},
    "deepseek_v3": {"n_routed_experts": 2, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1},
}


@pytest.mark.parametrize("kind", MIXTURES)
def test_mixtures_of_experts_are_refused(kind: str, tmp_path: Path) -> None:
    """By their settings, before any weight is read; by their modules where settings of another name say so."""
    line = f"^language: {kind} is a mixture of experts, which can't be trained here yet; pass a dense model$"
    config = tiny.PHI3 | {"model_type": kind} | MIXTURES[kind]
    with pytest.raises(UsageError, match=line):
        build_causal_model(PartOptions(config=config), "sdpa", False)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=line):
        build_causal_model(PartOptions(pretrained=str(tmp_path)), "sdpa", False)


def test_a_mixture_is_known_by_its_modules() -> None:
    config = tiny.PHI3 | {"model_type": "mixtral", "num_local_experts": 1, "num_experts_per_tok": 1}
    with pytest.raises(UsageError, match=r"^language: mixtral is a mixture of experts"):
        build_causal_model(PartOptions(config=config), "sdpa", False)


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    for config, message in (
        ({"vocab_size": 3}, r"^language: no model can be made of language\.config: TypeError: .*model_type"),
        ({"model_type": "phi33"}, r"^language: no model can be made of language\.config: ValueError: Unrecognized"),
        ({"model_type": "siglip"}, r"^language: no causal model can be made of language\.config: ValueError: "),
        (tiny.PHI3 | {"model_type": "cohere"}, r"^language: cohere scales its logits \(logit_scale\); pass another"),
        (
            {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2},
            r"^language: gpt2 has no decoder layers named `layers`; pass another model$",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            build_causal_model(PartOptions(config=config), "sdpa", False)
    with pytest.raises(
        UsageError, match=r"^language: no folder some/model; pass model\.language\.pretrained=FOLDER, or model\.allow_d"
    ):
        build_causal_model(PartOptions(pretrained="some/model"), "sdpa", False)
    model = AutoModelForCausalLM.from_config(Phi3Config(**{k: v for k, v in tiny.PHI3.items() if k != "model_type"}))
    state = model.state_dict()
    del state["model.norm.weight"]
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(UsageError, match=r"lacks 1 tensors, model\.norm\.weight for example; pass another folder$"):
        build_causal_model(PartOptions(pretrained=str(tmp_path)), "sdpa", False)
