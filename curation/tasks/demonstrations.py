"""Draws the demonstrations of few-shot prompts, as OpenFlamingo does: at random, for each question anew.

The draws depend on the seed and the question's id alone, so that a limit of questions, or their order, changes nothing;
and the four demonstrations of a 4-shot prompt are the first of the eight.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import islice

from curation.tasks.question import Question


class Demonstrations:
    """Holds the pool that demonstrations are drawn from."""

    def __init__(self, questions: Sequence[Question], pool: int, seed: int) -> None:
        """Draws the pool from the questions that have an answer."""
        answered = [question for question in questions if question.answers]
        self.seed = seed
        self.pool = [answered[at] for at in islice(_draw(len(answered), str(seed)), pool)]

    def draw(self, question: str) -> Iterator[Question]:
        """Yields the pool in random order for the question with this id, which is not among them."""
        order = _draw(len(self.pool), f"{self.seed}/{question}")
        return (self.pool[at] for at in order if self.pool[at].id != question)


def _draw(size: int, seed: str) -> Iterator[int]:
    """Yields the numbers below `size` in random order, by a Fisher-Yates shuffle that holds what it has moved."""
    numbers, moved = random.Random(seed), dict[int, int]()
    for at in range(size):
        drawn = numbers.randrange(at, size)
        yield moved.get(drawn, drawn)
        moved[drawn] = moved.pop(at, at)
