"""The chat template of an export gives the tokens of training, for its own format and for published ones."""

from pathlib import Path

import pytest

from tests.training.support import chat_templates, tiny
from training.data.options import DataOptions
from training.data.templates.prompts import resolve_prompts
from training.exports.chat_template import build_jinja
from training.exports.hf.tokenizer import has_equal_prompts, make_tokenizer
from training.model.config import PromptOptions
from training.model.tokens import load_tokenizer


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


@pytest.mark.parametrize("name", list(chat_templates.PUBLISHED))
def test_published_templates(name: str, tmp_path: Path) -> None:
    loaded = chat_templates.load(tmp_path, chat_templates.PUBLISHED[name])
    prompts = resolve_prompts(
        loaded, DataOptions.model_validate({"sources": {"web": "web"}, "weights": {"web": 1}, "bos": "auto"})
    )
    assert has_equal_prompts(make_tokenizer(loaded, prompts, build_jinja(loaded, prompts)), loaded, prompts)


def test_a_template_that_could_not_be_split(tokenizer: Path) -> None:
    assert build_jinja(load_tokenizer(tiny.options(tokenizer)), PromptOptions(template_fault="it has tools")) is None


@pytest.mark.parametrize("bos", [True, False])
def test_a_text_begins_as_in_training(tmp_path: Path, bos: bool) -> None:
    loaded = chat_templates.load(tmp_path, chat_templates.LLAMA3, add_bos_token=not bos)
    made = make_tokenizer(loaded, PromptOptions(bos=bos), None)
    assert (made("a")["input_ids"][:1] == [loaded.bos]) == bos


def test_a_tokenizer_that_joins_turns_is_noticed(tokenizer: Path) -> None:
    loaded, prompts = load_tokenizer(tiny.options(tokenizer)), PromptOptions()
    template = build_jinja(loaded, prompts)
    assert template is not None
    made = make_tokenizer(loaded, prompts, template.replace("<|end|>", "<|end|> "))
    assert not has_equal_prompts(made, loaded, prompts)
