"""What a model that has learnt says: the answer follows the image, alone and in a batch."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional

from schemas.errors import UsageError
from tests.training.support import tiny
from tests.training.support.tiny import END, pack, picture
from training.batch import IGNORE_INDEX, Batch
from training.model.generate import (
    Answer,
    GenerateOptions,
    Prompt,
    answer_batch,
    build_prompt_batch,
    generate,
    generate_batch,
)
from training.model.lmm import ResamplerLMM
from training.model.tokens import TextTokenizer, load_tokenizer

ANSWERS = ["a red cat", "two blue dogs", "nothing", "a map of Rome", "the sea", "snow", "a red kite", "seven"]
PROMPT = "What is it? "


def image(seed: int) -> Image.Image:
    return Image.fromarray(picture(seed)[0].permute(1, 2, 0).numpy())


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    return load_tokenizer(tiny.options(tiny.write_tokenizer(tmp_path_factory.mktemp("tokenizer"))))


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[ResamplerLMM, list[float]]:
    """Trained on eight samples with the same prompt, and the losses on the way."""
    options = tiny.options(tiny.write_tokenizer(tmp_path_factory.mktemp("learnt")))
    model = ResamplerLMM.build(options)
    samples: list[tiny.Sample] = [[picture(n), PROMPT, answer, END] for n, answer in enumerate(ANSWERS)]
    batch = pack([samples[:4], samples[4:]])
    asked = len(PROMPT) + tiny.TOKENS_PER_TILE - 1
    at = (batch.labels != IGNORE_INDEX) & (batch.positions >= asked)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3, weight_decay=0)
    losses = []
    for _ in range(300):
        loss = functional.cross_entropy(model(batch, at), batch.labels[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if losses[-1] < 0.01:
            break
    return model.eval(), losses


def test_eight_samples_are_learnt(learnt: tuple[ResamplerLMM, list[float]]) -> None:
    _, losses = learnt
    assert losses[0] > 5
    assert losses[-1] < 0.05


def test_the_answer_follows_the_image(learnt: tuple[ResamplerLMM, list[float]], tokenizer: TextTokenizer) -> None:
    """The prompt is the same for all, so nothing else can tell the answers apart: another's picture, its answer."""
    model, _ = learnt
    for number, answer in enumerate(ANSWERS):
        assert generate(model, tokenizer, [image(number), PROMPT]) == answer
    shifted = [generate(model, tokenizer, [image((number + 1) % 8), PROMPT]) for number in range(8)]
    assert shifted == [*ANSWERS[1:], ANSWERS[0]]
    assert sum(said == answer for said, answer in zip(shifted, ANSWERS, strict=True)) == 0


def test_a_batch_says_what_single_prompts_do(
    learnt: tuple[ResamplerLMM, list[float]], tokenizer: TextTokenizer
) -> None:
    model, _ = learnt
    prompts: list[Prompt] = [
        [image(1), PROMPT],
        ["nothing learnt"],
        [image(3), image(4), "and a longer prompt ", END, PROMPT],
        [image(0), PROMPT],
    ]
    options = GenerateOptions(max_new_tokens=20)
    assert generate_batch(model, tokenizer, prompts, options) == [
        generate(model, tokenizer, prompt, options) for prompt in prompts
    ]
    assert generate_batch(model, tokenizer, [], options) == []


def test_an_answer_says_how_long_it_is_and_whether_it_was_cut(
    learnt: tuple[ResamplerLMM, list[float]], tokenizer: TextTokenizer
) -> None:
    """The end token counts, the padding of the shorter prompt does not, and an answer may end at the limit itself."""
    model, _ = learnt
    prompts: list[Prompt] = [[image(0), PROMPT], ["and more ", image(2), PROMPT]]
    asked = tiny.TOKENS_PER_TILE + len(PROMPT)
    said = answer_batch(model, tokenizer, prompts[:1], GenerateOptions(max_new_tokens=len(ANSWERS[0]) + 1))
    assert said == [Answer(ANSWERS[0], asked, len(ANSWERS[0]) + 1, is_complete=True)]
    cut = answer_batch(model, tokenizer, prompts, GenerateOptions(max_new_tokens=5))
    assert cut[0] == Answer(ANSWERS[0][:5], asked, 5, is_complete=False)
    assert cut[1].prompt_tokens == len("and more ") + asked
    stopped = answer_batch(model, tokenizer, prompts[:1], GenerateOptions(stop=("red",)))
    assert stopped == [Answer("a ", asked, len("a red"), is_complete=True)]


@pytest.mark.parametrize("config", [{}, {"sliding_window": 5}, {"model_type": "llama", "tie_word_embeddings": True}])
def test_the_cache_changes_nothing(tokenizer: TextTokenizer, tmp_path: Path, config: dict[str, object]) -> None:
    """Token by token from the cache as from the whole text again, windows included."""
    folder = tiny.write_tokenizer(tmp_path)
    language = tiny.PHI3 | {"num_key_value_heads": 4} | config
    model = ResamplerLMM.build(tiny.options(folder, language={"config": language}))
    prompt: Prompt = [image(1), "and so it went on and on"]
    said = [generate(model, tokenizer, prompt, GenerateOptions(max_new_tokens=count)) for count in (3, 6)]
    batch = build_prompt_batch(model, tokenizer, [prompt])
    ids = batch.tokens[0].tolist()
    for _ in range(6):
        whole: Batch = pack([[[picture(1), *ids[4:]]]])
        logits = model(whole)[0, -1]
        logits[[tokenizer.special.image, tokenizer.special.placeholder, tokenizer.special.pad]] = -torch.inf
        ids.append(int(logits.argmax()))
    made = ids[batch.tokens.shape[1] :]
    assert not {END, tokenizer.special.end_of_chunk} & set(made)
    assert said == [tokenizer.decode(made[:3], keep_special=False), tokenizer.decode(made, keep_special=False)]


def test_a_model_trained_with_flex_attention_speaks_without(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    folder = tiny.write_tokenizer(tmp_path)
    flex, plain = (ResamplerLMM.build(tiny.options(folder, attention=name)) for name in ("flex_attention", "sdpa"))
    prompts: list[Prompt] = [[image(1), PROMPT], ["a"]]
    options = GenerateOptions(max_new_tokens=5)
    assert generate_batch(flex, tokenizer, prompts, options) == generate_batch(plain, tokenizer, prompts, options)
    assert flex.language.implementation == flex.language.lm.config._attn_implementation == "flex_attention"


def test_it_stops(learnt: tuple[ResamplerLMM, list[float]], tokenizer: TextTokenizer) -> None:
    model, _ = learnt
    prompt: Prompt = [image(3), PROMPT]
    assert generate(model, tokenizer, prompt, GenerateOptions(max_new_tokens=5)) == "a map"
    assert generate(model, tokenizer, prompt, GenerateOptions(stop=("Rome", "p o"))) == "a ma"
    assert generate(model, tokenizer, prompt, GenerateOptions(stop=("never",))) == "a map of Rome"
    with torch.no_grad():
        head = model.language.lm.lm_head.weight
        before = head[[END, 260]].clone()
        head[[END, 260]] = before.flip(0)  # it now ends its turn by the chat's own token
        try:
            assert generate(model, tokenizer, prompt) == "a map of Rome"
        finally:
            head[[END, 260]] = before
        before = head[[END, 257]].clone()
        head[[END, 257]] = before.flip(0)  # and now by one that no other chat ends with
        try:
            assert generate(model, tokenizer, prompt, GenerateOptions(max_new_tokens=20)) != "a map of Rome"
            assert generate(model, tokenizer, prompt, closing=(10, 257)) == "a map of Rome"
        finally:
            head[[END, 257]] = before
    assert generate(model, tokenizer, prompt, closing=tokenizer.encode(" of")) == "a map"


@pytest.mark.parametrize("options", [{}, {"beams": 3}, {"temperature": 1.0}, {"max_new_tokens": 1}])
def test_an_answer_may_end_at_once(
    learnt: tuple[ResamplerLMM, list[float]], tokenizer: TextTokenizer, options: dict[str, float]
) -> None:
    """An end token that comes first is an empty answer, which is complete."""
    model, _ = learnt
    prompts: list[Prompt] = [[image(0), PROMPT], ["a"]]
    bias = model.language.head_bias
    assert bias is not None
    with torch.no_grad():
        before = bias[END].clone()
        bias[END] = 1000
        try:
            said = answer_batch(model, tokenizer, prompts, GenerateOptions.model_validate(options))
        finally:
            bias[END] = before
    asked = tiny.TOKENS_PER_TILE + len(PROMPT)
    assert said == [Answer("", asked, 1, is_complete=True), Answer("", 1, 1, is_complete=True)]


def test_draws(learnt: tuple[ResamplerLMM, list[float]], tokenizer: TextTokenizer) -> None:
    model, _ = learnt
    hot = GenerateOptions(temperature=3, max_new_tokens=12)
    prompt: Prompt = [image(5), PROMPT]
    one, same = (generate(model, tokenizer, prompt, hot) for _ in range(2))
    assert one == same
    assert generate(model, tokenizer, prompt, hot.model_copy(update={"seed": 1})) != one
    assert generate(model, tokenizer, prompt, hot.model_copy(update={"top_p": 1e-6})) == "snow"
    for temperature in (1e-300, 1e-45):  # which float32 has not
        assert generate(model, tokenizer, prompt, hot.model_copy(update={"temperature": temperature})) == "snow"


def test_draws_do_not_depend_on_the_batch(learnt: tuple[ResamplerLMM, list[float]], tokenizer: TextTokenizer) -> None:
    """Prompts of several lengths, some with images, in any order; and the same words with another image differ."""
    model, _ = learnt
    hot = GenerateOptions(temperature=3, max_new_tokens=12, top_p=0.9)
    prompts: list[Prompt] = [[image(5), PROMPT], ["and so it went on and on"], [image(6), PROMPT], ["a"], ["b"]]
    alone = [generate(model, tokenizer, prompt, hot) for prompt in prompts]
    assert generate_batch(model, tokenizer, prompts, hot) == alone
    assert generate_batch(model, tokenizer, prompts[::-1], hot) == alone[::-1]
    assert generate_batch(model, tokenizer, [prompts[1]] * 3, hot) == [alone[1]] * 3
    assert len(set(alone)) == 5


def test_beams_say_what_was_learnt(learnt: tuple[ResamplerLMM, list[float]], tokenizer: TextTokenizer) -> None:
    """What the model is sure of is found by any search; a drawn token and a beam search exclude each other."""
    model, _ = learnt
    prompts: list[Prompt] = [[image(number), PROMPT] for number in (1, 3)]
    said = answer_batch(model, tokenizer, prompts, GenerateOptions(beams=4))
    assert [answer.text for answer in said] == [ANSWERS[1], ANSWERS[3]]
    assert [answer.tokens for answer in said] == [len(ANSWERS[1]) + 1, len(ANSWERS[3]) + 1]
    assert all(answer.is_complete for answer in said)
    with pytest.raises(ValueError, match="a beam search takes the likeliest tokens and draws none"):
        GenerateOptions(beams=2, temperature=1)


def test_what_is_wrong_is_one_line(learnt: tuple[ResamplerLMM, list[float]], tokenizer: TextTokenizer) -> None:
    model, _ = learnt
    for wrong in ({"max_new_tokens": 0}, {"temperature": float("inf")}, {"top_p": 0}, {"stop": ("",)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            GenerateOptions.model_validate(wrong)
    with pytest.raises(UsageError, match=r"^generate: prompt 1 is empty; pass a text or an image$"):
        generate_batch(model, tokenizer, [["a"], [""]])
    with pytest.raises(
        UsageError, match=r"^generate: a prompt of 1 tokens and 512 new ones exceed the model's limit of 512"
    ):
        generate(model, tokenizer, ["a"], GenerateOptions(max_new_tokens=512))
    model.train()
    generate(model, tokenizer, ["a"], GenerateOptions(max_new_tokens=1))
    assert model.training
    model.eval()
