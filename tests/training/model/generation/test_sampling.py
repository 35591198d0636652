"""A token is drawn by its probability, from the likeliest ones, with the number that a row's stream gives."""

import random

import pytest
import torch

from training.model.generation.draws import RowDraws, derive_seed
from training.model.generation.options import GenerateOptions
from training.model.generation.sampling import _choose_tokens

LIKELIHOODS = [0.2, 0.0, 0.5, 0.3]
SEEDS = range(400)


def draw(seeds: range, **options: float) -> list[int]:
    logits = torch.tensor([LIKELIHOODS]).log().repeat(len(seeds), 1)
    return _choose_tokens(logits, GenerateOptions(**options), RowDraws(seeds)).tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("top_p", "ends"), [(1.0, [0.5, 0.8, 1.0]), (0.8, [0.5, 0.8]), (0.51, [0.5, 0.8]), (0.5, [0.5]), (0.1, [0.5])]
)
def test_tokens_are_drawn_by_the_numbers_of_their_rows(top_p: float, ends: list[float]) -> None:
    """Tokens 2, 3 and 0 in the order of their probabilities; those of the top share their whole."""
    numbers = [random.Random(seed).random() * ends[-1] for seed in SEEDS]
    expected = [[2, 3, 0][next(place for place, end in enumerate(ends) if number < end)] for number in numbers]
    assert draw(SEEDS, temperature=1, top_p=top_p) == expected
    assert set(expected) == set([2, 3, 0][: len(ends)])


def test_a_temperature_sharpens_and_flattens() -> None:
    """Of 400 draws with the temperature 0.5, the likeliest of 4 : 9 : 25 has 66 %; with a high one all are alike."""
    sharp, flat = (draw(SEEDS, temperature=temperature) for temperature in (0.5, 1e6))
    assert sharp.count(2) / 400 == pytest.approx(25 / 38, abs=0.05)
    assert [flat.count(token) / 400 for token in (0, 2, 3)] == pytest.approx([1 / 3] * 3, abs=0.07)
    assert 1 not in {*sharp, *flat}


def test_each_step_draws_anew() -> None:
    draws = RowDraws([1, 2])
    first, second = draws.draw(), draws.draw()
    assert [first[0], second[0]] == [(stream := random.Random(1)).random(), stream.random()]
    assert len({*first, *second}) == 4


def test_seeds_follow_the_prompt() -> None:
    """Parts are told apart, so that moving a letter from one to the next is another prompt."""
    prompts: list[list[str | int]] = [["ab", "c"], ["a", "bc"], ["abc"], [1, 2], [12], ["1", "2"]]
    assert len({derive_seed(prompt, seed) for prompt in prompts for seed in (0, 1)}) == 12
    assert derive_seed(["ab", 1], 5) == derive_seed(["ab", 1], 5)
