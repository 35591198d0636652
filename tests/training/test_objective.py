"""The loss of a step does not depend on how it is cut into micro-batches; sources are told apart."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from tests.training.support import runs
from training import objective
from training.batch import IGNORE_INDEX, concatenate_batches
from training.objective import compute_micro_batch_loss, make_label_mask
from training.step import count_labels

BOTH = torch.ones(2)


def backwards(held, batches, loss_weights=BOTH):  # type: ignore[no-untyped-def]
    total = count_labels(batches)
    losses = [compute_micro_batch_loss(held.model, batch, total, loss_weights) for batch in batches]
    for found in losses:
        found.contribution.backward()
    return losses, runs.gradients(held)


def test_gradients_of_two_micro_batches_are_those_of_one(tokenizer: Path) -> None:
    uneven = [runs.batch(1), runs.batch(2, images=False)]
    uneven[1] = replace(uneven[1], labels=uneven[1].labels.where(uneven[1].positions < 3, IGNORE_INDEX))
    _, of_two = backwards(runs.trainer(runs.recipe(tokenizer)), uneven)
    (whole,), of_one = backwards(runs.trainer(runs.recipe(tokenizer)), [concatenate_batches(uneven)])
    assert of_two.keys() == of_one.keys()
    for name, gradient in of_one.items():
        torch.testing.assert_close(of_two[name], gradient, rtol=0, atol=1e-6)
    learnt = concatenate_batches(uneven).sources[make_label_mask(concatenate_batches(uneven))]
    assert whole.label_counts.tolist() == [int((learnt == number).sum()) for number in (0, 1)]


def test_loss_is_the_mean_over_labels_and_told_by_source(tokenizer: Path) -> None:
    held, batch = runs.trainer(runs.recipe(tokenizer)), runs.batch(3)
    found = compute_micro_batch_loss(held.model, batch, count_labels([batch]), BOTH)
    logits = held.model(batch).flatten(0, 1)
    each = functional.cross_entropy(logits, batch.labels.flatten(), ignore_index=IGNORE_INDEX, reduction="none")
    assert found.contribution.item() == pytest.approx(float(each.sum()) / count_labels([batch]), abs=1e-6)
    sums = [float(each[batch.sources.flatten() == number].sum()) for number in (0, 1)]
    assert found.loss_sums.tolist() == pytest.approx(sums, rel=1e-6)


def test_multipliers_are_linear(tokenizer: Path) -> None:
    def gradient(*loss_weights: float) -> dict[str, torch.Tensor]:
        return backwards(runs.trainer(runs.recipe(tokenizer)), [runs.batch(4)], torch.tensor(loss_weights))[1]

    first, second, both = gradient(1, 0), gradient(0, 1), gradient(3, 0.5)
    for name, found in both.items():
        torch.testing.assert_close(found, 3 * first[name] + 0.5 * second[name], rtol=0, atol=1e-6)


def test_nothing_to_learn_from(tokenizer: Path) -> None:
    held, batch = runs.trainer(runs.recipe(tokenizer)), runs.batch(5)
    (found,), gradients = backwards(held, [replace(batch, labels=torch.full_like(batch.labels, IGNORE_INDEX))])
    assert found.contribution.item() == 0
    assert found.label_counts.tolist() == [0, 0]
    assert len(gradients) == sum(p.requires_grad for p in held.model.parameters())
    assert all(not gradient.any() for gradient in gradients.values())


def test_rows_are_worked_off_in_parts(tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = runs.batch(6)
    (whole,), one = backwards(runs.trainer(runs.recipe(tokenizer)), [batch])
    monkeypatch.setattr(objective, "LOGITS_CHUNK_SIZE", 10)
    (parts,), same = backwards(runs.trainer(runs.recipe(tokenizer)), [batch])
    assert whole.loss_sums.tolist() == pytest.approx(parts.loss_sums.tolist(), rel=1e-6)
    for name, gradient in one.items():
        torch.testing.assert_close(same[name], gradient, rtol=0, atol=1e-6)
