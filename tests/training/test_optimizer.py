"""Learning rates by part, MM1's law, and what decays."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.errors import UsageError
from tests.training.support import runs
from training.flops import count_non_embedding_parameters
from training.optimizer import (
    compute_mm1_rate,
    freeze,
    make_optimizer,
    resolve_learning_rates,
    select_trainable,
    set_learning_rates,
)
from training.recipe import LearningRates, OptimizerOptions
from training.set_up import prepare_model

TABLE = {9e6: 6.75e-4, 85e6: 2.62e-4, 302e6: 1.54e-4, 1.2e9: 8.58e-5, 3e9: 5.83e-5, 7e9: 4.08e-5, 30e9: 2.21e-5}


@pytest.mark.parametrize(("parameters", "rate"), TABLE.items())
def test_law_of_mm1(parameters: float, rate: float) -> None:
    assert compute_mm1_rate(int(parameters)) == pytest.approx(rate, abs=1e-6)


def test_law_is_for_what_is_not_frozen() -> None:
    found = resolve_learning_rates(OptimizerOptions(lr_rule="mm1", lr=LearningRates(connector=1.0)), 85_000_000)
    assert found == LearningRates(
        tower=0, connector=compute_mm1_rate(85_000_000), language=compute_mm1_rate(85_000_000)
    )


def test_parameters_of_the_law(tokenizer: Path) -> None:
    model = prepare_model(runs.recipe(tokenizer))
    layers = sum(p.numel() for p in model.language.layers.parameters())
    assert count_non_embedding_parameters(model) == layers + 64  # and the last norm


def test_a_rate_of_zero_freezes(tokenizer: Path) -> None:
    asked = runs.recipe(tokenizer, optimizer={"lr": {"language": 0}})
    model = prepare_model(asked)
    assert {name.split(".")[0] for name in select_trainable(model)} == {"connector"}
    with pytest.raises(UsageError, match="every part is frozen; give one of them a rate above 0"):
        freeze(model, LearningRates(connector=0, language=0))


def test_a_tower_that_learns(tokenizer: Path) -> None:
    held = runs.trainer(runs.recipe(tokenizer, optimizer={"lr": {"tower": 1e-3}}))
    towers = [name for name in select_trainable(held.model) if name.startswith("vision.")]
    assert towers
    assert not any(".head." in name for name in towers)
    before = held.model.get_parameter(towers[0]).detach().clone()
    runs.step(held, [runs.batch(1)])
    assert not before.equal(held.model.get_parameter(towers[0]))
    runs.step(held, [runs.batch(1, images=False)])


def test_groups(tokenizer: Path) -> None:
    options = OptimizerOptions(lr=LearningRates(connector=1e-3, language=2e-3), weight_decay=0.1)
    model = prepare_model(runs.recipe(tokenizer))
    optimizer = make_optimizer(model, options, options.lr)
    names = {id(parameter): name for name, parameter in select_trainable(model).items()}
    found = {
        (group["part"], group["weight_decay"]): {names[id(parameter)] for parameter in group["params"]}
        for group in optimizer.param_groups
    }
    assert found.keys() == {(part, decay) for part in ("connector", "language") for decay in (0.0, 0.1)}
    assert "connector.latents" in found["connector", 0.0]
    assert all(name.endswith(("weight",)) and "norm" not in name for name in found["language", 0.1])
    assert set_learning_rates(optimizer, 0.5) == {"connector": 5e-4, "language": 1e-3}
    every = make_optimizer(model, options.model_copy(update={"weight_decay_on": "all"}), options.lr)
    assert [group["weight_decay"] for group in every.param_groups] == [0.1, 0.1]


def test_betas_are_below_1() -> None:
    assert OptimizerOptions(betas=(0.0, 0.999)).betas == (0.0, 0.999)
    for betas in ((0.9, 2.0), (1.0, 0.999), (-0.1, 0.9)):
        with pytest.raises(ValidationError, match="betas"):
            OptimizerOptions(betas=betas)
