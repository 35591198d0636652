"""A model that is sharded before it has weights starts from those of a model that is built whole."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from schemas.errors import UsageError
from tests.training.support import runs, tiny
from training.checkpoint import COMMIT_FILE, CheckpointSaver, RunState
from training.checkpoint_model import hash_weights, select_frozen
from training.model.lmm import ResamplerLMM
from training.model.pretrained import build_model, save_pretrained
from training.model.tokens import load_tokenizer
from training.model.weights import list_tensors
from training.parallel import Ranks, init_distributed, parallelize
from training.recipe import CheckpointOptions, TrainRecipe
from training.set_up import prepare_model
from training.sharding.deferred_model import defer_model


def build_deferred(recipe: TrainRecipe) -> tuple[dict[str, Tensor], str] | None:
    """Returns the tensors of the deferred model, and the hash of its frozen weights; None if it can't be deferred."""
    with init_distributed(recipe.run, "fsdp") as ranks:
        if (deferred := defer_model(recipe, ranks)) is None:
            return None
        parallelize(deferred.model, recipe, ranks)
        deferred.fill(deferred.model, ranks)
        found = list_tensors(deferred.model)
        whole = {name: getattr(one, "full_tensor", lambda one=one: one)().detach() for name, one in found.items()}
        return whole, hash_weights(select_frozen(deferred.model))


def check_equals_whole(recipe: TrainRecipe) -> None:
    found, expected = build_deferred(recipe), prepare_model(recipe)
    assert found is not None
    tensors, frozen = found
    assert tensors.keys() == list_tensors(expected).keys()
    for name, tensor in list_tensors(expected).items():
        assert torch.equal(tensors[name], tensor), name
    assert frozen == hash_weights(select_frozen(expected))


def save_model(folder: Path, options: Any) -> Path:
    save_pretrained(build_model(options), load_tokenizer(options), folder)
    return folder


@pytest.mark.parametrize("changes", [{}, {"precision": "bf16", "activation_checkpointing": True}])
def test_new_weights(tokenizer: Path, changes: dict[str, Any]) -> None:
    check_equals_whole(runs.recipe(tokenizer, parallel="fsdp", **changes))


def test_a_language_model_that_is_frozen_and_tied(tokenizer: Path) -> None:
    language = {"config": tiny.PHI3 | {"model_type": "llama", "tie_word_embeddings": True}}
    model = tiny.options(tokenizer, language=language).model_dump()
    check_equals_whole(runs.recipe(tokenizer, parallel="fsdp", model=model, optimizer={"lr": {"language": 0}}))


def test_an_export(tokenizer: Path, tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", tiny.options(tokenizer, seed=9))
    check_equals_whole(runs.recipe(tokenizer, parallel="fsdp", init_from=str(model)))


@pytest.mark.parametrize("latents", [2, 7])
def test_an_export_with_other_latents(latents: int, tokenizer: Path, tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", tiny.options(tokenizer, seed=9))
    other = tiny.options(tokenizer, connector=tiny.CONNECTOR | {"latents": latents}).model_dump()
    changes = ["connector.latents"]
    check_equals_whole(runs.recipe(tokenizer, parallel="fsdp", init_from=str(model), init_changes=changes, model=other))


@pytest.mark.parametrize("layout", ["a tower", "a whole SigLIP"])
def test_pretrained_parts(layout: str, tokenizer: Path, tmp_path: Path) -> None:
    """Their files are read by row, one of them in half precision; the connector and the added rows are drawn."""
    options = tiny.options(tokenizer, seed=9)
    model = build_model(options)
    model.vision.model.save_pretrained(tmp_path / "tower")
    if layout == "a whole SigLIP":
        file = tmp_path / "tower/model.safetensors"
        tensors = {f"vision_model.{name}": tensor for name, tensor in load_file(file).items()}
        save_file(tensors | {"text_model.head.bias": torch.zeros(2), "logit_scale": torch.zeros(1)}, file)
    model.language.lm.half().save_pretrained(tmp_path / "language")
    parts = {name: {"pretrained": str(tmp_path / folder)} for name, folder in (("vision", "tower"), ("language",) * 2)}
    asked = tiny.options(tokenizer, **parts).model_dump()
    check_equals_whole(runs.recipe(tokenizer, parallel="fsdp", model=asked))


def write_checkpoint(folder: Path, recipe: TrainRecipe) -> str:
    """Takes a step from the recipe's start, and saves what came of it."""
    held = runs.trainer(recipe)
    runs.step(held, [runs.batch(1)])
    assert isinstance(held.model, ResamplerLMM)
    state = RunState(1, {}, {}, hash_weights(select_frozen(held.model)), recipe.resolve(), {})
    with CheckpointSaver(folder, CheckpointOptions(), Ranks()) as saver:
        saver.save(held.model, held.optimizer, state)
    return str(folder / "step-00000001")


def test_a_checkpoint_of_a_run_from_a_checkpoint(tokenizer: Path, tmp_path: Path) -> None:
    """Each leaves something frozen: the tower is drawn by the first, the connector trained by it alone."""
    options = [tiny.options(tokenizer, seed=seed).model_dump() for seed in (5, 6, 7)]
    first = write_checkpoint(tmp_path / "first", runs.recipe(tokenizer, model=options[0]))
    second = write_checkpoint(
        tmp_path / "second",
        runs.recipe(tokenizer, model=options[1], init_from=first, optimizer={"lr": {"connector": 0, "language": 1e-3}}),
    )
    check_equals_whole(runs.recipe(tokenizer, parallel="fsdp", model=options[2], init_from=second))
    other = runs.recipe(tokenizer, parallel="fsdp", init_from=first)
    commit = json.loads((tmp_path / "first/step-00000001" / COMMIT_FILE).read_text())
    (tmp_path / "first/step-00000001" / COMMIT_FILE).write_text(json.dumps(commit | {"frozen": "0"}))
    with pytest.raises(UsageError, match=r"the frozen weights are not those of its run; restore them$"):
        build_deferred(other)


def test_what_is_built_whole(tokenizer: Path, tmp_path: Path) -> None:
    """A model on one device, a checkpoint with another number of latents, and a part's files of another layout."""
    assert defer_model(runs.recipe(tokenizer), Ranks()) is None
    start = write_checkpoint(tmp_path / "run", runs.recipe(tokenizer))
    more = {"init_from": start, "init_changes": ["connector.latents"]}
    assert build_deferred(runs.recipe(tokenizer, parallel="fsdp", **more)) is None
    model = build_model(tiny.options(tokenizer))
    model.language.lm.base_model.save_pretrained(tmp_path / "base")  # without the head
    asked = tiny.options(tokenizer, language={"pretrained": str(tmp_path / "base")}).model_dump()
    assert build_deferred(runs.recipe(tokenizer, parallel="fsdp", model=asked)) is None


def test_a_tower_that_is_added_is_built_whole(tokenizer: Path, tmp_path: Path) -> None:
    """Its weights are in other files than the language model's, which the start has."""
    build_model(tiny.options(tokenizer)).vision.model.save_pretrained(tmp_path / "tower")
    start = save_model(tmp_path / "start", tiny.options(tokenizer, vision=None))
    seeing = tiny.options(tokenizer, vision={"pretrained": str(tmp_path / "tower")}).model_dump()
    asked = {"model": seeing, "parallel": "fsdp", "init_from": str(start), "init_changes": ["vision"]}
    assert build_deferred(runs.recipe(tokenizer, **asked)) is None


def test_errors_are_those_of_a_whole_model(tokenizer: Path, tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", tiny.options(tokenizer))
    other = tiny.options(tokenizer, connector=tiny.CONNECTOR | {"latents": 8}).model_dump()
    asked = runs.recipe(tokenizer, parallel="fsdp", init_from=str(model), model=other)
    for build in (build_deferred, prepare_model):
        with pytest.raises(UsageError, match=r"connector\.latents is 4 there and 8 here; make the recipe's the same$"):
            build(asked)
