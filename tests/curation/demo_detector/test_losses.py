"""The losses: who learns from what, on numbers worked out by hand, and that a few steps lower them."""

import random

import pytest
import torch

from curation.demo_detector import losses, train
from curation.demo_detector.batches import (
    SceneBatch,
    SceneBatches,
    is_named_by,
    sample_absent_phrases,
    sample_training_phrases,
)
from curation.demo_detector.losses import Prediction, compute_iou_and_giou, predict
from curation.demo_detector.model import build_detector, build_processor, build_tokenizer


def batch(boxes: list[list[float]], width: int = 64) -> SceneBatch:
    """One square picture of 64 pixels, padded to a width; object i answers to token i of four."""
    mask = torch.zeros(1, 64, width, dtype=torch.long)
    mask[:, :, :64] = 1
    objects = torch.tensor([[*boxes, *[[0.0] * 4] * (4 - len(boxes))]])
    tokens = torch.eye(4)[None].clone()
    tokens[:, len(boxes) :] = 0
    ones = torch.ones(1, 4, dtype=torch.long)
    return SceneBatch(torch.zeros(1, 3, 64, width), mask, ones, ones, objects, tokens)


def test_overlaps() -> None:
    a = torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.25, 0.5, 0.5, 1.0], [0.1, 0.5, 0.2, 1.0]])
    b = torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0], [0.9, 0.5, 0.2, 1.0]])
    plain, generalised = compute_iou_and_giou(a, b)
    assert plain.tolist() == pytest.approx([1, 0.5, 0])
    assert generalised.tolist() == pytest.approx([1, 0.5, -0.6])


@pytest.mark.parametrize("width", [64, 96])
def test_places_near_the_middle_learn(width: int) -> None:
    """Maps of 8 x 8 and 4 x 4 places in the picture, whatever the padding."""
    learns = losses._assign_near_centres(batch([[0.5, 0.5, 0.5, 0.5], [0.06, 0.94, 0.1, 0.1]], width))
    across = width // 8
    fine, coarse = learns[0, : 8 * across].view(8, across, 4), learns[0, 8 * across :].view(4, across // 2, 4)
    assert fine[..., 0].nonzero().tolist() == [[3, 3], [3, 4], [4, 3], [4, 4]]
    assert coarse[..., 0].nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert fine[..., 1].nonzero().tolist() == [[7, 0]], "a small object has its nearest place"
    assert coarse[..., 1].nonzero().tolist() == [[3, 0]]
    assert not learns[..., 2:].any()


def test_queries_that_overlap_learn_and_every_object_has_one() -> None:
    one = batch([[0.5, 0.5, 0.4, 0.4], [0.9, 0.9, 0.1, 0.1]])
    queries = torch.tensor([[[0.5, 0.5, 0.4, 0.4], [0.52, 0.5, 0.4, 0.4], [0.7, 0.5, 0.4, 0.4], [0.9, 0.86, 0.1, 0.1]]])
    learns = losses._assign_overlapping(queries, one.boxes, one.tokens.any(-1))
    assert learns[0].nonzero().tolist() == [[0, 0], [1, 0], [3, 1]]


def test_a_perfect_answer_costs_next_to_nothing() -> None:
    one = batch([[0.5, 0.5, 0.4, 0.4]])
    learns = torch.zeros(1, 2, 4, dtype=torch.bool)
    learns[0, 0, 0] = True
    logits = torch.full((1, 2, 4), -20.0)
    logits[0, 0, 0] = 20
    boxes = torch.tensor([[[0.5, 0.5, 0.4, 0.4], [0.1, 0.1, 0.1, 0.1]]])
    assert losses._compute_stage_loss(Prediction(logits, boxes), learns, one).item() == pytest.approx(0, abs=1e-6)
    assert losses._compute_stage_loss(Prediction(-logits, boxes), learns, one).item() > 100
    shifted = boxes + torch.tensor([0.1, 0, 0, 0])
    assert losses._compute_stage_loss(Prediction(logits, shifted), learns, one).item() == pytest.approx(
        5 * 0.1 + 2 * 0.4 + 4 * 0.28**2 * 20 * 0.28, abs=0.01
    )


def test_prompts_name_what_is_there_and_what_is_not() -> None:
    assert is_named_by("red circle", "red circle")
    assert is_named_by("red circle", "circle")
    assert not is_named_by("red circle", "blue circle")
    named = 0
    for seed in range(200):
        rng, labels = random.Random(seed), ["red circle", "house"]
        phrases = sample_training_phrases(rng, labels)
        assert phrases
        assert len(set(phrases)) == len(phrases)
        named += sum(any(is_named_by(label, phrase) for phrase in phrases) for label in labels)
        assert not {"red circle", "circle", "house"} & set(sample_absent_phrases(rng, labels, 6))
    assert 300 < named < 340, "four in five"


def test_batches_do_not_depend_on_who_draws_them() -> None:
    scenes = SceneBatches(build_processor(), build_tokenizer(), "test")
    whole, part = scenes.draw(1, range(4)), scenes.draw(1, range(1, 4, 2))
    assert torch.equal(whole.boxes[1::2], part.boxes)
    assert torch.equal(whole.pixel_mask.sum((1, 2))[1::2], part.pixel_mask.sum((1, 2)))


def test_a_few_steps_lower_the_loss() -> None:
    four = SceneBatches(build_processor(), build_tokenizer(), "test").draw(0, range(4))
    model = build_detector(0).train()
    with torch.no_grad():
        [encoder, first, second] = predict(model, four)
    assert encoder.boxes.shape[1] > 32
    assert first.boxes.shape == second.boxes.shape == (4, 32, 4)
    optimizer = train._build_optimizer(model)
    values = [train._train_step(model, optimizer, four, 0.25) for _ in range(10)]
    assert values[-1] < 0.9 * values[0]
