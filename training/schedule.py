"""Computes the learning rate as a pure function of the step, so that a checkpoint saves no schedule."""

import math

from training.recipe import ScheduleOptions


def compute_lr_factor(options: ScheduleOptions, step: int, steps: int) -> float:
    """Returns the factor, 0 to 1, of the peak learning rate at `step`, counted from 0, of `steps`.

    The cosine with warm-up is that of transformers: it starts at exactly 0 and would reach 0 again at the step after
    the last.
    """
    if step < options.warmup_steps:
        return step / options.warmup_steps
    if options.shape == "constant":
        return 1.0
    progress = (step - options.warmup_steps) / max(1, steps - options.warmup_steps)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
