"""The schedule is transformers' own, step by step."""

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from training.recipe import ScheduleOptions
from training.schedule import compute_lr_factor


@pytest.mark.parametrize(("warmup", "steps"), [(0, 50), (10, 50), (2000, 15_600), (7, 7)])
def test_cosine_is_that_of_transformers(warmup: int, steps: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_cosine_schedule_with_warmup(optimizer, warmup, steps)
    options = ScheduleOptions(warmup_steps=warmup)
    for step in range(steps):
        assert compute_lr_factor(options, step, steps) == pytest.approx(theirs.get_last_lr()[0], abs=1e-6)
        optimizer.step()
        theirs.step()


def test_constant_after_the_warm_up() -> None:
    options = ScheduleOptions(shape="constant", warmup_steps=4)
    assert [compute_lr_factor(options, step, 8) for step in range(8)] == [0, 0.25, 0.5, 0.75, 1, 1, 1, 1]
