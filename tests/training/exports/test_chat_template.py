"""The chat template of an export gives the tokens of training, for its own format and for published ones."""

from pathlib import Path

import pytest

from tests.training.support import chat_templates, tiny
from tests.training.support.sets import document
from training.data.markup import Markup
from training.data.options import DataOptions, SourceTextOptions
from training.data.pieces import Piece
from training.data.samples import SampleTokenizer
from training.data.templates.prompts import resolve_prompts
from training.exports.chat_template import build_jinja
from training.exports.hf.tokenizer import has_equal_prompts, make_tokenizer
from training.model.chat_format import ChatFormat
from training.model.config import PromptOptions
from training.model.tokens import load_tokenizer


def data_options(**changes: object) -> DataOptions:
    return DataOptions.model_validate({"sources": {"web": "web"}, "weights": {"web": 1}} | changes)


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_role_markers(tokenizer: Path, system: str | None) -> None:
    loaded, prompts = load_tokenizer(tiny.options(tokenizer)), PromptOptions(system=system)
    made = make_tokenizer(loaded, prompts, build_jinja(loaded, prompts))
    before = "" if system is None else "<|system|>\nBe brief.<|end|>\n"
    content = [{"type": "image"}, {"type": "text", "text": " What? "}]
    assert made.apply_chat_template(
        [{"role": "user", "content": content}, {"role": "assistant", "content": 'A "cat".'}],
        tokenize=False,
    ) == (before + '<|user|>\n<image>\nWhat?<|end|>\n<|assistant|>\nA "cat".<|end|>\n')
    asked = [{"role": "system", "content": "In French."}, {"role": "user", "content": "What?"}]
    assert made.apply_chat_template(asked, tokenize=False, add_generation_prompt=True) == (
        "<|system|>\nIn French.<|end|>\n<|user|>\nWhat?<|end|>\n<|assistant|>\n"
    )
    assert has_equal_prompts(made, loaded, prompts)
    with pytest.raises(Exception, match="there is no role tool: use system, user or assistant"):
        made.apply_chat_template([{"role": "tool", "content": "1"}], tokenize=False)
    with pytest.raises(Exception, match="there is no part of type video: use text or image"):
        made.apply_chat_template([{"role": "user", "content": [{"type": "video"}]}], tokenize=False)


def test_what_follows_the_last_turn(tokenizer: Path) -> None:
    """Only where no answer is asked for."""
    loaded = load_tokenizer(tiny.options(tokenizer))
    texts = {"user": {"opening": "Q:"}, "assistant": {"opening": "A:", "closing": "<|end|>"}, "end": "<|endoftext|>"}
    prompts = PromptOptions(template=ChatFormat.model_validate(texts))
    made = make_tokenizer(loaded, prompts, build_jinja(loaded, prompts))
    turns = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "A cat."}]
    assert made.apply_chat_template(turns, tokenize=False) == "Q:What?A:A cat.<|end|><|endoftext|>"
    assert made.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True) == "Q:What?A:"


def test_messages_of_one_role_are_one_turn(tokenizer: Path) -> None:
    """As training joins the parts of a turn, texts and images alike."""
    loaded, prompts = load_tokenizer(tiny.options(tokenizer)), PromptOptions()
    made = make_tokenizer(loaded, prompts, build_jinja(loaded, prompts))
    shown = [{"type": "image"}]
    messages = [*({"role": "user", "content": part} for part in ("One ", shown, shown, "What?"))]
    asked = made.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=False)
    markup = Markup.from_tokenizer(loaded, data_options(system_prompt=None), tokens_per_tile=1)
    record = document(1, ["One", (8, 8), (8, 8), "What?", "A."], ("user",) * 4 + ("assistant",))
    segment = SampleTokenizer(loaded, markup, 0).tokenize(record, SourceTextOptions(), Piece(), [1, 1])
    assert segment is not None
    closing = len(loaded.encode("A.")) + len(markup.chat.find_closing("assistant"))
    assert list(asked) == segment.ids[:-closing]


@pytest.mark.parametrize("name", list(chat_templates.PUBLISHED))
def test_published_templates(name: str, tmp_path: Path) -> None:
    loaded = chat_templates.load(tmp_path, chat_templates.PUBLISHED[name])
    prompts = resolve_prompts(loaded, data_options(bos="auto"))
    assert has_equal_prompts(make_tokenizer(loaded, prompts, build_jinja(loaded, prompts)), loaded, prompts)


def test_a_template_that_could_not_be_split(tokenizer: Path) -> None:
    assert build_jinja(load_tokenizer(tiny.options(tokenizer)), PromptOptions(template_fault="it has tools")) is None


@pytest.mark.parametrize("bos", [True, False])
def test_a_text_begins_as_in_training(tmp_path: Path, bos: bool) -> None:
    loaded = chat_templates.load(tmp_path, chat_templates.LLAMA3, add_bos_token=not bos)
    made = make_tokenizer(loaded, PromptOptions(bos=bos), None)
    assert (made("a")["input_ids"][:1] == [loaded.bos]) == bos


def test_a_tokenizer_that_joins_what_follows_an_image_is_noticed(tokenizer: Path) -> None:
    loaded, prompts = load_tokenizer(tiny.options(tokenizer)), PromptOptions()
    template = build_jinja(loaded, prompts)
    assert template is not None
    assert not has_equal_prompts(
        make_tokenizer(loaded, prompts, template.replace("<image>", "<image> ")), loaded, prompts
    )


def test_a_tokenizer_that_joins_turns_is_noticed(tokenizer: Path) -> None:
    loaded, prompts = load_tokenizer(tiny.options(tokenizer)), PromptOptions()
    template = build_jinja(loaded, prompts)
    assert template is not None
    made = make_tokenizer(loaded, prompts, template.replace("<|end|>", "<|end|> "))
    assert not has_equal_prompts(made, loaded, prompts)
