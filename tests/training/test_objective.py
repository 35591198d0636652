"""The loss of a step does not depend on how it is cut into micro-batches; sources are told apart."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from tests.training.support import runs
from training import objective
from training.batch import IGNORED, stack
from training.objective import labelled, loss
from training.step import labels_in

BOTH = torch.ones(2)


def backwards(held, batches, multipliers=BOTH):  # type: ignore[no-untyped-def]
    total = labels_in(batches)
    losses = [loss(held.model, batch, total, multipliers) for batch in batches]
    for found in losses:
        found.share.backward()
    return losses, runs.gradients(held)


def test_gradients_of_two_micro_batches_are_those_of_one(tokenizer: Path) -> None:
    uneven = [runs.batch(1), runs.batch(2, images=False)]
    uneven[1] = replace(uneven[1], labels=uneven[1].labels.where(uneven[1].positions < 3, IGNORED))
    _, of_two = backwards(runs.trainer(runs.recipe(tokenizer)), uneven)
    (whole,), of_one = backwards(runs.trainer(runs.recipe(tokenizer)), [stack(uneven)])
    assert of_two.keys() == of_one.keys()
    for name, gradient in of_one.items():
        torch.testing.assert_close(of_two[name], gradient, rtol=0, atol=1e-6)
    learnt = stack(uneven).sources[labelled(stack(uneven))]
    assert whole.counts.tolist() == [int((learnt == number).sum()) for number in (0, 1)]


def test_loss_is_the_mean_over_labels_and_told_by_source(tokenizer: Path) -> None:
    held, batch = runs.trainer(runs.recipe(tokenizer)), runs.batch(3)
    found = loss(held.model, batch, labels_in([batch]), BOTH)
    logits = held.model(batch).flatten(0, 1)
    each = functional.cross_entropy(logits, batch.labels.flatten(), ignore_index=IGNORED, reduction="none")
    assert found.share.item() == pytest.approx(float(each.sum()) / labels_in([batch]), abs=1e-6)
    sums = [float(each[batch.sources.flatten() == number].sum()) for number in (0, 1)]
    assert found.sums.tolist() == pytest.approx(sums, rel=1e-6)


def test_multipliers_are_linear(tokenizer: Path) -> None:
    def gradient(*multipliers: float) -> dict[str, torch.Tensor]:
        return backwards(runs.trainer(runs.recipe(tokenizer)), [runs.batch(4)], torch.tensor(multipliers))[1]

    first, second, both = gradient(1, 0), gradient(0, 1), gradient(3, 0.5)
    for name, found in both.items():
        torch.testing.assert_close(found, 3 * first[name] + 0.5 * second[name], rtol=0, atol=1e-6)


def test_nothing_to_learn_from(tokenizer: Path) -> None:
    held, batch = runs.trainer(runs.recipe(tokenizer)), runs.batch(5)
    (found,), gradients = backwards(held, [replace(batch, labels=torch.full_like(batch.labels, IGNORED))])
    assert found.share.item() == 0
    assert found.counts.tolist() == [0, 0]
    assert len(gradients) == sum(p.requires_grad for p in held.model.parameters())
    assert all(not gradient.any() for gradient in gradients.values())


def test_rows_are_worked_off_in_parts(tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = runs.batch(6)
    (whole,), one = backwards(runs.trainer(runs.recipe(tokenizer)), [batch])
    monkeypatch.setattr(objective, "ROWS", 10)
    (parts,), same = backwards(runs.trainer(runs.recipe(tokenizer)), [batch])
    assert whole.sums.tolist() == pytest.approx(parts.sums.tolist(), rel=1e-6)
    for name, gradient in one.items():
        torch.testing.assert_close(same[name], gradient, rtol=0, atol=1e-6)
