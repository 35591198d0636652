"""A key's old name: refused with the new one where a user writes it, translated where a run has stored it."""

from pathlib import Path

import pytest
import yaml

from schemas.errors import UsageError
from tests.training.support import runs
from training.recipe import TrainRecipe, find_resume_conflicts, load_train_recipe
from training.renamed_keys import RENAMED_KEYS, rename_keys

OLD_RECIPE = """
start: runs/pretrain/model
optimiser: {law: mm1, lr: {tower: 0}, decay: all, clip: 0.5}
schedule: {shape: cosine, warmup: 30}
sequences: 512
micro: 4
multipliers: {texts: 0.2}
model: {resampler: {kind: perceiver, latents: 64}}
data: {system: Be brief., window: 256, max_faults: 0.02, stop: 9}
run: {patience: 60}
"""
RENAMED_RECIPE = """
init_from: runs/pretrain/model
optimizer: {lr_rule: mm1, lr: {tower: 0}, weight_decay_on: all, max_grad_norm: 0.5}
schedule: {shape: cosine, warmup_steps: 30}
global_batch_size: 512
micro_batch_size: 4
loss_weights: {texts: 0.2}
model: {connector: {kind: perceiver, latents: 64}}
data: {system_prompt: Be brief., packing_window: 256, max_bad_samples: 0.02, stop: 9}
run: {timeout_seconds: 60}
"""


def test_every_old_key_has_its_new_name() -> None:
    old = yaml.safe_load(OLD_RECIPE)
    renamed, found = rename_keys(old)
    assert renamed == yaml.safe_load(RENAMED_RECIPE)
    assert found == [f"{name} is now {new}" for name, new in RENAMED_KEYS.items()]
    assert old == yaml.safe_load(OLD_RECIPE)  # the caller's values stay
    assert rename_keys(renamed) == (renamed, [])


@pytest.mark.parametrize(
    ("values", "renamed"),
    [
        ({"optimiser": None}, {"optimizer": None}),
        ({"optimiser": 3, "data": None}, {"data": None, "optimizer": 3}),
        ({"model": ["resampler"]}, {"model": ["resampler"]}),
    ],
)
def test_groups_that_are_not_mappings(values: dict[str, object], renamed: dict[str, object]) -> None:
    assert rename_keys(values)[0] == renamed


@pytest.mark.parametrize(("old", "new"), RENAMED_KEYS.items())
def test_every_new_name_is_a_key_of_the_recipe(old: str, new: str) -> None:
    fields = TrainRecipe.model_fields
    *groups, name = new.split(".")
    for group in groups:
        fields = fields[group].annotation.model_fields  # type: ignore[union-attr]
    assert name in fields
    assert old.split(".")[-1] not in fields


def test_an_old_key_is_refused_with_its_new_name(tokenizer: Path, tmp_path: Path) -> None:
    path = str(runs.written(tmp_path, runs.recipe(tokenizer)))
    with pytest.raises(UsageError) as raised:
        load_train_recipe(path, ["sequences=8", "optimiser.law=mm1"])
    said = "sequences is now global_batch_size; optimiser is now optimizer; optimizer.law is now optimizer.lr_rule"
    assert str(raised.value) == f"recipe {path}: {said}"


def test_a_stored_recipe_of_before_is_of_the_same_run(tokenizer: Path) -> None:
    requested = runs.recipe(tokenizer).resolve()
    stored = dict(requested)
    stored["sequences"] = stored.pop("global_batch_size")
    stored["optimiser"] = stored.pop("optimizer")
    assert find_resume_conflicts(stored, requested) == []
    assert find_resume_conflicts(stored | {"sequences": 9}, requested) == ["global_batch_size is 9 there and 2 here"]
