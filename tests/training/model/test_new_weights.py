"""New weights drawn tensor by tensor are those of a model that is built whole, bit by bit."""

from pathlib import Path

import pytest
import torch

from tests.training.support import tiny
from training.model.init_changes import renew_connector
from training.model.lmm import ResamplerLMM
from training.model.new_weights import Recording, record_new_weights
from training.model.pretrained import build_blank_model
from training.model.tokens import load_tokenizer
from training.model.weights import list_tensors

LANGUAGE = {
    "phi3": tiny.PHI3 | {"pad_token_id": 3},  # a row of zeros, set through a view
    "tied": tiny.PHI3 | {"model_type": "llama", "tie_word_embeddings": True},
    "qwen2": tiny.PHI3 | {"model_type": "qwen2", "num_key_value_heads": 2},
}


def check_replays(recording: Recording, model: ResamplerLMM, whole: dict[str, torch.Tensor]) -> None:
    """Checks that all of the tensors in `whole` are replayed, once for each name."""
    names = []
    for name, value in recording.replay(list_tensors(model)):
        names.append(name)
        assert value.dtype == whole[name].dtype, name
        assert torch.equal(value, whole[name]), name
    assert sorted(names) == sorted(whole)


@pytest.mark.parametrize("name", LANGUAGE)
def test_language_models(name: str, tokenizer: Path) -> None:
    options = tiny.options(tokenizer, language={"config": LANGUAGE[name]}, seed=3)
    before = torch.get_rng_state()
    with record_new_weights() as recording:
        model = ResamplerLMM.build(options, "meta")
    assert all(tensor.is_meta for tensor in list_tensors(model).values())
    check_replays(recording, model, list_tensors(ResamplerLMM.build(options)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", tiny.CONNECTORS)
def test_connectors(kind: str, tokenizer: Path) -> None:
    options = tiny.options(tokenizer, connector=tiny.connector(kind))
    with record_new_weights() as recording:
        model = ResamplerLMM.build(options, "meta")
    check_replays(recording, model, list_tensors(ResamplerLMM.build(options)))


def test_only_what_is_made_is_replayed(tokenizer: Path) -> None:
    """The other weights of a blank model come from files; the language model's ones and zeros are made in any case."""
    options = tiny.options(tokenizer, seed=5)
    with record_new_weights() as recording:
        model = build_blank_model(options, load_tokenizer(options), "meta")
        renew_connector(model)
    whole = build_blank_model(options, load_tokenizer(options))
    renew_connector(whole)
    made = {name: tensor for name, tensor in list_tensors(whole).items() if name.startswith("connector.")}
    made |= {name: one for name, one in whole.named_parameters() if name.startswith("language.") and "norm" in name}
    made["language.head_bias"] = whole.get_parameter("language.head_bias")
    check_replays(recording, model, made | dict(whole.named_buffers()))


def test_a_model_outside_of_the_block_is_not_recorded(tokenizer: Path) -> None:
    with record_new_weights() as recording:
        pass
    model = ResamplerLMM.build(tiny.options(tokenizer), "meta")
    assert list(recording.replay(list_tensors(model))) == []
