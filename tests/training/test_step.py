"""A step changes weights by what it has learnt, or not at all."""

import math
from pathlib import Path

import pytest
import torch

from schemas.errors import ShardloomError
from tests.training.support import runs, tiny
from training.batch import concatenate_batches
from training.step import StepResult, _make_not_finite_error


def weights(held: runs.Trainer) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in held.model.parameters()]


def test_micro_batches_are_one_batch(tokenizer: Path) -> None:
    batches = [runs.batch(1), runs.batch(2, images=False)]
    one, two = runs.trainer(runs.recipe(tokenizer)), runs.trainer(runs.recipe(tokenizer))
    for number in range(3):
        whole, parts = runs.step(one, [concatenate_batches(batches)], number), runs.step(two, batches, number)
        assert parts.loss == pytest.approx(whole.loss, abs=1e-5)
        assert parts.gradient_norm == pytest.approx(whole.gradient_norm, abs=1e-5)
        assert parts.label_counts == whole.label_counts


def test_a_step_is_the_same_again(tokenizer: Path) -> None:
    """Whatever was drawn before: with dropout, too."""
    dropping = {"config": tiny.PHI3 | {"resid_pdrop": 0.5}}
    asked = runs.recipe(tokenizer, model=tiny.options(tokenizer, language=dropping).model_dump())
    losses = []
    for drawn in (0, 3):
        held = runs.trainer(asked)
        torch.rand(drawn)
        losses.append([runs.step(held, [runs.batch(1)], number).loss for number in (7, 8)])
    assert losses[0] == losses[1]
    assert losses[0][0] != runs.step(runs.trainer(asked), [runs.batch(1)], 9).loss


def test_clipping(tokenizer: Path) -> None:
    held = runs.trainer(runs.recipe(tokenizer, optimizer=runs.ALL | {"max_grad_norm": 0.01}))
    held.optimizer.step = lambda: None  # type: ignore[method-assign, assignment]
    held.optimizer.zero_grad = lambda **_: None  # type: ignore[method-assign]
    assert runs.step(held, [runs.batch(1)]).gradient_norm > 0.1
    norm = torch.stack([gradient.norm() for gradient in runs.gradients(held).values()]).norm()
    assert float(norm) == pytest.approx(0.01, rel=1e-3)


def test_nan_in_a_weight(tokenizer: Path) -> None:
    held = runs.trainer(runs.recipe(tokenizer))
    with torch.no_grad():
        held.model.get_parameter("connector.projection.weight")[0, 0] = torch.nan
    before = weights(held)
    with pytest.raises(ShardloomError) as raised:
        runs.step(held, [runs.batch(1, images=False), runs.batch(2)], 11)
    assert str(raised.value) == (
        "step 12, rank 0: the loss is nan, the step was not taken: tiny 0.tar 0, tiny 0.tar 1; "
        "the weight connector.projection.weight was not finite before the step: resume from an earlier checkpoint"
    )
    assert all(torch.equal(one, other) or one.isnan().any() for one, other in zip(before, weights(held), strict=True))


def test_nan_in_samples_of_another_rank(tokenizer: Path) -> None:
    held, batches = runs.trainer(runs.recipe(tokenizer)), [runs.batch(1)]
    assert str(_make_not_finite_error(held, batches, [0.5], StepResult(math.nan, [], [], math.nan), 11)) == (
        "step 12, rank 0: the loss is nan, the step was not taken: another rank's error names the samples"
    )


def test_gradient_that_overflows(tokenizer: Path) -> None:
    held = runs.trainer(runs.recipe(tokenizer))
    held.model.get_parameter("connector.latents").register_hook(lambda gradient: gradient * torch.inf)
    before = weights(held)
    with pytest.raises(ShardloomError, match=r"step 1, rank 0: the gradient is not finite.*all weights were finite"):
        runs.step(held, [runs.batch(1)])
    assert all(torch.equal(one, other) for one, other in zip(before, weights(held), strict=True))
