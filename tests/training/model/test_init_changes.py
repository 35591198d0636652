"""A model starts from one with more or fewer latents, or without words, where the recipe names that option."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from schemas.errors import UsageError
from tests.training.support import runs, tiny
from tests.training.support.tiny import pack, picture
from training.model.config import ModelOptions
from training.model.lmm import ResamplerLMM
from training.model.pretrained import build_like, build_model, load_pretrained, save_pretrained
from training.model.tokens import load_tokenizer

BATCH = pack([[["what ", picture(1), "? a cat"], ["text"]]])


def options_of(tokenizer: Path, kind: str = "perceiver", **changes: Any) -> ModelOptions:
    return tiny.options(tokenizer, connector=tiny.connector(kind) | changes, seed=3)


def saved(folder: Path, options: ModelOptions) -> Path:
    """A model whose every weight is another than a new one's."""
    model = build_model(options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.25)
    save_pretrained(model, load_tokenizer(options), folder)
    return folder


def check_rest_is_equal(model: ResamplerLMM, source: ResamplerLMM, but: set[str]) -> None:
    state = source.state_dict()
    for name, tensor in model.state_dict().items():
        assert name in but or torch.equal(tensor, state[name]), name


@pytest.mark.parametrize(("kind", "count"), [("perceiver", "latents"), ("attention_pool", "queries")])
@pytest.mark.parametrize(("before", "after"), [(4, 8), (8, 4), (4, 4)])
def test_rows_that_both_have_are_kept(
    kind: str, count: str, before: int, after: int, tokenizer: Path, tmp_path: Path
) -> None:
    """Others are those of a new model of the same seed; everything else is loaded."""
    folder = saved(tmp_path / "model", options_of(tokenizer, kind, **{count: before}))
    options, name = options_of(tokenizer, kind, **{count: after}), f"connector.{count}"
    model, source = build_model(options, weights=str(folder), changes=(name,)), load_pretrained(folder)[0]  # type: ignore[arg-type]
    check_rest_is_equal(model, source, {name})
    rows, kept = model.state_dict()[name], min(before, after)
    assert torch.equal(rows[:kept], source.state_dict()[name][:kept])
    again = build_model(options, weights=str(folder), changes=(name,))  # type: ignore[arg-type]
    assert torch.equal(again.state_dict()[name], rows)
    assert rows[kept:].isfinite().all()
    assert before >= after or rows[kept:].std() > 0.01
    like = build_like(options, source, folder, changes=(name,))  # type: ignore[arg-type]
    assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in like.state_dict().items())
    assert {tensor.shape for tensor in build_model(options, "meta", str(folder), (name,)).state_dict().values()} == {  # type: ignore[arg-type]
        tensor.shape for tensor in model.state_dict().values()
    }


def test_not_named_is_not_changed(tokenizer: Path, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", options_of(tokenizer))
    said = r"is another model: connector\.latents is 4 there and 8 here; make the recipe's the same$"
    for changes in ((), ("connector.kind",), ("connector.queries",)):
        with pytest.raises(UsageError, match=said):
            build_model(options_of(tokenizer, latents=8), weights=str(folder), changes=changes)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"connector\.heads is 2 there and 4 here; make the recipe's the same$"):
        build_model(options_of(tokenizer, heads=4), weights=str(folder), changes=("connector.latents",))


def test_a_perceiver_learns_to_listen(tokenizer: Path, tmp_path: Path) -> None:
    """Its weights go on in an instruction-aware connector, whose layer for words is new; and no other kind does."""
    folder = saved(tmp_path / "model", options_of(tokenizer))
    options, source = options_of(tokenizer, "instruction_aware"), load_pretrained(folder)[0]
    model = build_model(options, weights=str(folder), changes=("connector.kind",))
    check_rest_is_equal(model, source, {"connector.instruction.weight", "connector.instruction.bias"})
    assert 0.01 < float(model.connector.instruction.weight.std()) < 0.2  # of a new linear layer of width 64
    silent = replace(BATCH, instructions=BATCH.instructions & False)
    assert torch.equal(model(silent), source(silent))
    with pytest.raises(UsageError, match=r"connector\.kind is 'perceiver' there and 'instruction_aware' here; "):
        build_model(options, weights=str(folder))
    said = r"init_changes: connector\.kind is 'perceiver' in .* and 'ldp' here; it may change only from 'perceiver' to"
    with pytest.raises(UsageError, match=said):
        build_model(options_of(tokenizer, "ldp"), weights=str(folder), changes=("connector.kind",))


def test_both_at_once(tokenizer: Path, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", options_of(tokenizer))
    options = options_of(tokenizer, "instruction_aware", latents=6)
    model = build_model(options, weights=str(folder), changes=("connector.kind", "connector.latents"))
    assert model.connector.latents.shape == (6, 32)
    assert torch.equal(model.connector.latents[:4], load_pretrained(folder)[0].connector.latents)


def test_the_recipe(tokenizer: Path) -> None:
    """An empty list is not stored, as in recipes of runs that began before."""
    asked = runs.recipe(tokenizer, init_from="model", init_changes=["connector.latents"])
    assert asked.resolve()["init_changes"] == ["connector.latents"]
    assert "init_changes" not in runs.recipe(tokenizer).resolve()
    with pytest.raises(ValidationError, match="there is no init_from whose model could differ: leave it out"):
        runs.recipe(tokenizer, init_changes=["connector.latents"])
    with pytest.raises(ValidationError, match=r"connector\.latents"):
        runs.recipe(tokenizer, init_from="model", init_changes=["connector.depth"])
