"""What is asked of an exported model is put as its training has put it, to the token."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from schemas.errors import UsageError
from tests.conftest import jpeg
from tests.training.support import chat_templates, tiny
from tests.training.support.sets import document
from training.data.markup import Markup
from training.data.options import DEFAULT_SYSTEM_PROMPT, DataOptions, SourceTextOptions
from training.data.pieces import Piece
from training.data.samples import SampleTokenizer
from training.data.templates.prompts import resolve_prompts
from training.inference import (
    answer_prompt,
    build_chat_prompt,
    build_document_prompt,
    interleave_images,
    load_image,
    move_to_device,
    resolve_device,
)
from training.model.config import PromptOptions
from training.model.generate import GenerateOptions, Prompt, build_prompt_batch, generate
from training.model.lmm import ResamplerLMM
from training.model.pretrained import load_pretrained, read_prompts, save_pretrained
from training.model.tiles import DecodedImage
from training.model.tokens import TextTokenizer, load_tokenizer

PROMPTS = PromptOptions(system=DEFAULT_SYSTEM_PROMPT)
SIZE = (64, 48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export, with two images beside it."""
    place = tmp_path_factory.mktemp("export")
    options = tiny.options(tiny.write_tokenizer(place / "tokenizer"))
    save_pretrained(ResamplerLMM.build(options), load_tokenizer(options), place / "model", prompts=PROMPTS)
    for number in (1, 2):
        (place / f"{number}.jpg").write_bytes(jpeg(number, *SIZE))
    return place


def data_options(**changes: Any) -> DataOptions:
    return DataOptions.model_validate({"sources": {"a": "nowhere"}, "weights": {"a": 1}} | changes)


def reader(tokenizer: TextTokenizer, prompts: PromptOptions) -> SampleTokenizer:
    options = data_options(system_prompt=prompts.system, end_of_chunk=prompts.end_of_chunk)
    return SampleTokenizer(tokenizer, Markup.from_tokenizer(tokenizer, options, tiny.TOKENS_PER_TILE), 0)


def pictures(folder: Path, model: ResamplerLMM) -> list[DecodedImage]:
    return [load_image(str(folder / f"{number}.jpg"), model.options, model.vision.image_size) for number in (1, 2)]


def ids(model: ResamplerLMM, tokenizer: TextTokenizer, prompt: Prompt) -> list[int]:
    found: list[int] = build_prompt_batch(model, tokenizer, [prompt]).tokens[0].tolist()
    return found


@pytest.mark.parametrize("system", [DEFAULT_SYSTEM_PROMPT, "Be brief.", None])
def test_a_question_is_put_as_conversations_are(folder: Path, system: str | None) -> None:
    model, tokenizer = load_pretrained(folder / "model")
    prompts = PromptOptions(system=system)
    stored = document(1, [SIZE, "What is it?", SIZE, "And this?", "A cat"], ["user"] * 4 + ["assistant"])
    segment = reader(tokenizer, prompts).tokenize(stored, SourceTextOptions(), Piece(), [1, 1])
    assert segment is not None
    parts = interleave_images("<image>\nWhat is it? <image> And this?\n", pictures(folder, model))
    answered = segment.loss_mask.index(True)
    prompt = build_chat_prompt(parts, tokenizer, prompts)
    assert ids(model, tokenizer, prompt) == segment.ids[:answered]
    instruction = build_prompt_batch(model, tokenizer, [prompt]).instructions[0].tolist()
    assert instruction == segment.instruction_mask[:answered]  # neither the system's words nor the image
    assert tokenizer.decode(segment.ids[answered:]) == "A cat<|end|>\n"


@pytest.fixture(scope="module", params=["llama3", "mistral", "gemma"])
def templated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DataOptions]:
    """An export of a tokenizer with a chat template, and the options that it was trained with."""
    place = tmp_path_factory.mktemp("templated")
    published = chat_templates.PUBLISHED[request.param]
    options = tiny.options(chat_templates.write_tokenizer(place / "tokenizer", published, add_bos_token=True))
    words, trained = load_tokenizer(options), data_options(system_prompt="Be brief.")
    save_pretrained(ResamplerLMM.build(options), words, place / "model", prompts=resolve_prompts(words, trained))
    (place / "1.jpg").write_bytes(jpeg(1, *SIZE))
    return place, trained


def test_an_export_asks_by_its_chat_template(templated: tuple[Path, DataOptions]) -> None:
    """The tokenizer is read from the export, whose chat template is not rendered again."""
    folder, trained = templated
    trained_with = load_tokenizer(tiny.options(folder / "tokenizer"))
    model, tokenizer = load_pretrained(folder / "model")
    prompts = read_prompts(folder / "model")
    assert prompts == resolve_prompts(trained_with, trained) == resolve_prompts(tokenizer, trained)
    own = SampleTokenizer(trained_with, Markup.from_tokenizer(trained_with, trained, tiny.TOKENS_PER_TILE), 0)
    stored = document(1, [SIZE, "What is it?", "A cat"], ["user", "user", "assistant"])
    segment = own.tokenize(stored, SourceTextOptions(), Piece(), [1])
    text = own.tokenize(document(2, ["See ", SIZE]), SourceTextOptions(), Piece(), [1])
    assert segment is not None
    assert text is not None
    image = load_image(str(folder / "1.jpg"), model.options, model.vision.image_size)
    question = build_chat_prompt([image, "What is it?"], tokenizer, prompts)
    assert ids(model, tokenizer, question) == segment.ids[: segment.loss_mask.index(True)]
    assert ids(model, tokenizer, build_document_prompt(["See ", image], tokenizer, prompts)) == text.ids[:-2]
    assert (text.ids[0] == tokenizer.bos) == (tokenizer.bos is not None)


def test_a_chat_ends_where_its_template_closes_a_turn(tmp_path: Path) -> None:
    options = tiny.options(chat_templates.write_tokenizer(tmp_path / "tokenizer", chat_templates.CHATML))
    words, model = load_tokenizer(options), ResamplerLMM.build(options)

    def answer(closing: str) -> str:
        turns = {"user": {"opening": "Q:"}, "assistant": {"opening": "A:", "closing": closing}}
        prompts = resolve_prompts(words, data_options(template=turns, system_prompt=None))
        save_pretrained(model, words, tmp_path / "model", prompts=prompts, replace=True)
        asked = GenerateOptions(max_new_tokens=40)
        return answer_prompt(str(tmp_path / "model"), "What?", [], asked, chat=True, device="cpu")

    whole = answer("<|im_end|>")
    letter = next(letter for letter in whole[1:] if letter.isascii() and letter.isalnum())
    assert answer(f"{letter}") == whole[: whole.index(letter)]


def test_a_model_whose_template_could_not_be_split_is_not_asked_so(tmp_path: Path) -> None:
    published = replace(chat_templates.CHATML, template=chat_templates.QWEN3)
    options = tiny.options(chat_templates.write_tokenizer(tmp_path / "tokenizer", published))
    words = load_tokenizer(options)
    prompts = resolve_prompts(words, data_options())
    save_pretrained(ResamplerLMM.build(options), words, tmp_path / "model", prompts=prompts)
    assert isinstance(answer_prompt(str(tmp_path / "model"), "a", [], GenerateOptions(max_new_tokens=1)), str)
    with pytest.raises(UsageError, match=r"^--chat: this model was trained on no conversations: its chat template "):
        answer_prompt(str(tmp_path / "model"), "a", [], chat=True)


@pytest.mark.parametrize("end_of_chunk", [True, False])
def test_a_text_is_begun_as_documents_are(folder: Path, end_of_chunk: bool) -> None:
    model, tokenizer = load_pretrained(folder / "model")
    prompts = PromptOptions(end_of_chunk=end_of_chunk)
    stored = document(1, ["See ", SIZE, " a cat", SIZE, " a"])
    segment = reader(tokenizer, prompts).tokenize(stored, SourceTextOptions(), Piece(), [1, 1])
    assert segment is not None
    parts = interleave_images("See <image> a cat<image> a", pictures(folder, model))
    closing = 2 if end_of_chunk else 1
    assert ids(model, tokenizer, build_document_prompt(parts, tokenizer, prompts)) == segment.ids[:-closing]


def test_an_export_says_how_it_is_asked(folder: Path, tmp_path: Path) -> None:
    assert read_prompts(folder / "model") == PROMPTS
    stored = json.loads((folder / "model/config.json").read_text())["prompts"]
    assert stored == {"system": DEFAULT_SYSTEM_PROMPT, "end_of_chunk": True}  # as before there were templates
    (tmp_path / "config.json").write_text('{"model_type": "shardloom_resampler_lmm", "model": {}}')
    assert read_prompts(tmp_path) == PromptOptions(system=None, end_of_chunk=True)
    (tmp_path / "config.json").write_text('{"prompts": {"system": 3}}')
    with pytest.raises(
        UsageError, match=r"config\.json does not describe a model: ValidationError: .*; pass another folder$"
    ):
        read_prompts(tmp_path)


def test_answers(folder: Path) -> None:
    """Of a model that has learnt nothing; that a file may be a URL, too."""
    options = GenerateOptions(max_new_tokens=3)
    model, image = str(folder / "model"), str(folder / "1.jpg")
    said = answer_prompt(model, "What is it?", [image], options, chat=True, device="cpu")
    assert said == answer_prompt(model, "<image> What is it? ", [f"file://{image}"], options, chat=True, device="cpu")
    assert isinstance(said, str)
    assert said != answer_prompt(model, "What is it?", [image], options, device="cpu")


def test_images_that_are_none(folder: Path) -> None:
    missing = folder / "none.png"
    with pytest.raises(
        UsageError,
        match=rf"^--image {missing}: cannot read {missing}: No such file or .*; pass an image's file or URL$",
    ):
        answer_prompt(str(folder / "model"), "", [str(missing)], device="cpu")
    tokenizer = folder / "tokenizer/tokenizer.json"
    with pytest.raises(UsageError, match=rf"^--image {tokenizer}: not a usable image: .*; pass another$"):
        answer_prompt(str(folder / "model"), "", [str(tokenizer)], device="cpu")
    with pytest.raises(UsageError, match=r"^the prompt has 2 times <image>, but there are 1 images$"):
        answer_prompt(str(folder / "model"), "<image><image>", [str(folder / "1.jpg")], device="cpu")


def test_devices(folder: Path) -> None:
    assert resolve_device("cpu") == "cpu"
    model, tokenizer = load_pretrained(folder / "model")
    if not torch.cuda.is_available():
        assert resolve_device("auto") == "cpu"
        with pytest.raises(UsageError, match=r"^generate: no CUDA device here; pass --device cpu or --device auto$"):
            resolve_device("cuda")
        return
    assert resolve_device("auto") == "cuda"
    angles = [buffer.clone() for buffer in model.buffers()]
    move_to_device(model, "cuda")
    assert {(p.dtype, p.device.type) for p in model.parameters()} == {(torch.bfloat16, "cuda")}
    assert all(torch.equal(one.cpu(), other) for one, other in zip(model.buffers(), angles, strict=True))
    prompt = build_chat_prompt(["What is it?", *pictures(folder, model)], tokenizer, PROMPTS)
    assert isinstance(generate(model, tokenizer, prompt, GenerateOptions(max_new_tokens=3)), str)
