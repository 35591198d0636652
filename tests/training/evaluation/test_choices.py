"""Losses of choices, against those that a single forward pass over the whole sequence gives."""

import pytest
import torch
from torch.nn import functional

from schemas.errors import UsageError
from tests.training.support import tiny
from training.evaluation.choices import compute_choice_losses
from training.model.generate import Prompt
from training.model.lmm import ResamplerLMM
from training.model.tiles import DecodedImage
from training.model.tokens import TextTokenizer, load_tokenizer

CHOICES = [" a cat", " two big dogs", " x"]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> tuple[ResamplerLMM, TextTokenizer]:
    options = tiny.options(tiny.write_tokenizer(tmp_path_factory.mktemp("tokenizer")))
    return ResamplerLMM.build(options).eval(), load_tokenizer(options)


def image() -> DecodedImage:
    pixels = tiny.picture(1)[0].permute(1, 2, 0).numpy()
    return DecodedImage(pixels, (56, 56), (56, 56))


@pytest.mark.parametrize("at_end", ["", "What is it?"])
def test_losses(held: tuple[ResamplerLMM, TextTokenizer], at_end: str) -> None:
    """Of choices of different lengths, behind a text or an image."""
    model, tokenizer = held
    prompt: Prompt = [image(), *filter(None, [at_end])]
    found = compute_choice_losses(model, tokenizer, prompt, CHOICES)
    for choice, loss in zip(CHOICES, found, strict=True):
        batch = tiny.pack([[[tiny.picture(1), at_end + choice]]])
        with torch.inference_mode():
            logits = model(batch)[0]
        size = len(choice)
        expected = functional.cross_entropy(logits[-size - 1 : -1], batch.tokens[0, -size:])
        assert loss == pytest.approx(expected.item(), abs=1e-5)


def test_a_choice_depends_on_no_other(held: tuple[ResamplerLMM, TextTokenizer]) -> None:
    together = compute_choice_losses(*held, [image(), "Q"], CHOICES)
    alone = [compute_choice_losses(*held, [image(), "Q"], [choice])[0] for choice in CHOICES]
    assert together == pytest.approx(alone, abs=1e-5)


def test_what_can_not_be_judged(held: tuple[ResamplerLMM, TextTokenizer]) -> None:
    with pytest.raises(UsageError, match=r"^evaluate: the choice '' has no tokens$"):
        compute_choice_losses(*held, ["Q"], ["a", ""])
    with pytest.raises(UsageError, match=r"^evaluate: the prompt is empty; give the task a question or an image$"):
        compute_choice_losses(*held, [], ["a"])
    with pytest.raises(UsageError, match="exceed the model's limit of 512"):
        compute_choice_losses(*held, ["Q" * 510], ["abc"])
