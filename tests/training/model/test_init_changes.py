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
from training.model.config import ModelOptions, VisionOptions
from training.model.lmm import ResamplerLMM
from training.model.pretrained import build_like, build_model, load_pretrained, save_pretrained
from training.model.tokens import load_tokenizer
from training.model.towers.positions import interpolate_positions

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


def test_a_language_model_gets_a_tower(tokenizer: Path, tmp_path: Path) -> None:
    """As Xmodel-VLM's does after Xmodel-LM: its weights are kept, the tower is the recipe's, the connector new."""
    alone, seeing = tiny.options(tokenizer, vision=None, seed=3), options_of(tokenizer)
    folder, source = saved(tmp_path / "alone", alone), load_pretrained(tmp_path / "alone")[0]
    new = build_model(seeing).state_dict()
    for model in (
        build_model(seeing, weights=str(folder), changes=("vision",)),
        build_like(seeing, source, folder, changes=("vision",)),
    ):
        state = model.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in source.state_dict().items())
        assert all(torch.equal(state[name], new[name]) for name in state if not name.startswith("language."))
        assert model.vision.frozen
        assert model(BATCH).isfinite().all()
    assert build_model(seeing, "meta", str(folder), ("vision",)).state_dict().keys() == new.keys()
    with pytest.raises(UsageError, match=r"has no vision tower: set init_changes: \[vision\] to add the recipe's and"):
        build_model(seeing, weights=str(folder))
    other = saved(tmp_path / "seeing", seeing)
    with pytest.raises(UsageError, match=r"^init_changes: vision adds a tower, but .*seeing has one: leave it out$"):
        build_model(seeing, weights=str(other), changes=("vision",))
    with pytest.raises(UsageError, match=r"seeing has a vision tower and model\.vision is null: describe the tower th"):
        build_model(alone, weights=str(other))


def test_another_resolution_of_a_c_abstractor(tokenizer: Path, tmp_path: Path) -> None:
    """As in MM1's fine-tuning: its positions are interpolated like the tower's, whose table is the same."""
    before = options_of(tokenizer, "c_abstractor")
    after = before.model_copy(update={"vision": VisionOptions(config=tiny.VISION, image_size=84)})
    folder = saved(tmp_path / "model", before)
    source, name = load_pretrained(folder)[0], "connector.positions"
    model = build_model(after, weights=str(folder), changes=(name,))  # type: ignore[arg-type]
    check_rest_is_equal(model, source, {name})
    assert torch.equal(model.state_dict()[name], interpolate_positions(source.state_dict()[name], 6))
    same = build_model(before, weights=str(folder), changes=(name,))  # type: ignore[arg-type]
    check_rest_is_equal(same, source, set())
    with pytest.raises(UsageError, match=r"^model: connector\.positions is \[16, 32\], here \[36, 32\] in .*; pass"):
        build_model(after, weights=str(folder))


def test_another_feature_layer_is_another_model(tokenizer: Path, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", options_of(tokenizer))
    other = options_of(tokenizer).model_copy(update={"vision": VisionOptions(config=tiny.VISION, feature_layer=-2)})
    with pytest.raises(UsageError, match=r"is another model: vision\.feature_layer is -1 there and -2 here; make the"):
        build_model(other, weights=str(folder))
