"""The learning rate at every step: a pure function of the step, so that nothing of it has to be saved."""

import math

from training.recipe import ScheduleOptions


def factor(options: ScheduleOptions, step: int, steps: int) -> float:
    """What the highest learning rate is multiplied by at `step`, from 0 on, of `steps`.

    Cosine with warm-up is that of transformers: it begins at exactly 0 and would reach 0 again at the step after the
    last.
    """
    if step < options.warmup:
        return step / options.warmup
    if options.shape == "constant":
        return 1.0
    progress = (step - options.warmup) / max(1, steps - options.warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
