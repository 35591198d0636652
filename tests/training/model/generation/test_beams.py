"""The beam search finds what transformers' finds with the same weights."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from tests.training.support import own_vocabulary
from tests.training.support.tiny import picture
from training.batch import PADDING
from training.model.generate import GenerateOptions, Prompt, answer_batch, build_prompt_batch
from training.model.generation.beams import search_answers
from training.model.generation.decoder import Decoder
from training.model.generation.endings import Endings
from training.model.lmm import ResamplerLMM
from training.model.tiles import DecodedImage
from training.model.tokens import TextTokenizer

LANGUAGES: dict[str, dict[str, Any]] = {
    "phi3": {},
    "a window": {"sliding_window": 9},
    "groups of heads": {"model_type": "llama", "num_key_value_heads": 2},
}
Model = tuple[ResamplerLMM, TextTokenizer]


@pytest.fixture(scope="module", params=LANGUAGES)
def sharp(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model with random weights so large that it prefers some tokens, at times one that ends an answer."""
    model, tokenizer = own_vocabulary.build(tmp_path_factory.mktemp("sharp"), **LANGUAGES[request.param])
    ends = sorted(Endings(tokenizer, GenerateOptions(), ()).tokens)
    with torch.no_grad():
        head = model.language.lm.lm_head.weight
        head *= 4
        head[ends] *= 2.2
    return model, tokenizer


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    image = DecodedImage(picture(1)[0].permute(1, 2, 0).numpy(), (56, 56), (56.0, 56.0))
    texts = ["a", "and so it went on and on", "what?", "seven", "a map of Rome", "the sea"]
    return [[image, "What is it?"], ["no ", image], *([text] for text in texts)]


def search(model: Model, prompts: Sequence[Prompt], options: GenerateOptions) -> list[list[int]]:
    """The tokens of our answers."""
    lmm, tokenizer = model
    special = lmm.special
    with torch.inference_mode():
        decoder = Decoder(lmm, build_prompt_batch(lmm, tokenizer, prompts), options.max_new_tokens)
        forbidden = torch.tensor([special.image, special.placeholder, special.pad])
        return search_answers(decoder, forbidden, Endings(tokenizer, options, ()), options)


def search_with_transformers(model: Model, prompts: Sequence[Prompt], options: GenerateOptions) -> list[list[int]]:
    """The tokens of transformers' answers, without the padding behind them."""
    lmm, tokenizer = model
    special = lmm.special
    ends = sorted(Endings(tokenizer, options, ()).tokens)
    batch = build_prompt_batch(lmm, tokenizer, prompts)
    config = GenerationConfig(
        max_new_tokens=options.max_new_tokens,
        num_beams=options.beams,
        do_sample=False,
        eos_token_id=ends,
        pad_token_id=special.pad,
        suppress_tokens=[special.image, special.placeholder, special.pad],
    )
    with torch.inference_mode():
        embeddings = lmm.splice(lmm.language.embed(batch.tokens), lmm.embed_images(batch), batch)
        mask = (batch.segments != PADDING).long()
        found = lmm.language.lm.generate(inputs_embeds=embeddings, attention_mask=mask, generation_config=config)
    return [[token for token in row if token != special.pad] for row in found.tolist()]


@pytest.mark.parametrize("beams", [2, 3, 5])
def test_answers_are_those_of_transformers(sharp: Model, prompts: list[Prompt], beams: int) -> None:
    """Of prompts of several lengths; some end by themselves, others at the limit."""
    options = GenerateOptions(max_new_tokens=12, beams=beams)
    ours = search(sharp, prompts, options)
    assert ours == search_with_transformers(sharp, prompts, options)
    assert ours == [search(sharp, [prompt], options)[0] for prompt in prompts]
    ends = Endings(sharp[1], options, ()).tokens
    assert {ids[-1] in ends for ids in ours} == {True, False}
    assert ours != search(sharp, prompts, options.model_copy(update={"beams": 1}))


def test_one_step(sharp: Model, prompts: list[Prompt]) -> None:
    """An answer of one token is the likeliest token."""
    options = GenerateOptions(max_new_tokens=1, beams=3)
    greedy = answer_batch(*sharp, prompts, GenerateOptions(max_new_tokens=1))
    assert answer_batch(*sharp, prompts, options) == greedy


def test_texts_end_answers_too(sharp: Model, prompts: list[Prompt]) -> None:
    """A beam that reaches a stop text is a finished answer, and the text before it is read."""
    options = GenerateOptions(max_new_tokens=12, beams=3)
    whole = answer_batch(*sharp, prompts, options)
    stop = max((answer.text for answer in whole), key=len)[2]
    stopped = answer_batch(*sharp, prompts, options.model_copy(update={"stop": (stop,)}))
    assert [stop in answer.text for answer in whole].count(True) > 0
    assert [stop in answer.text for answer in stopped].count(True) == 0
    for before, after in zip(whole, stopped, strict=True):
        assert stop in before.text or after == before or after.is_complete
