"""The settings of generation of an export name the tokens that a text begins and answers end with."""

from pathlib import Path

from tests.training.support import chat_templates, tiny
from training.exports.generation import find_answer_closing, make_generation_config
from training.model.chat_format import ChatFormat
from training.model.config import PromptOptions
from training.model.tokens import load_tokenizer


def test_the_token_that_closes_a_turn_ends_an_answer(tokenizer: Path) -> None:
    """Here that of the next turn, which no tokenizer names as an end."""
    loaded = load_tokenizer(tiny.options(tokenizer))
    template = {"user": {"opening": "<|user|>"}, "assistant": {"opening": "<|assistant|>", "closing": "\n<|user|>"}}
    prompts = PromptOptions(template=ChatFormat.model_validate(template))
    assert find_answer_closing(loaded, prompts) == (10, 258)
    assert make_generation_config(loaded, prompts).eos_token_id == [256, 258, 260, 264]
    assert make_generation_config(loaded, PromptOptions(template_fault="it has tools")).eos_token_id == [256, 260, 264]
    assert find_answer_closing(loaded, PromptOptions(template_fault="it has tools")) == ()


def test_the_token_that_begins_a_text(tokenizer: Path, tmp_path: Path) -> None:
    loaded = chat_templates.load(tmp_path, chat_templates.LLAMA3)
    assert make_generation_config(loaded, PromptOptions()).bos_token_id == loaded.bos is not None
    assert make_generation_config(load_tokenizer(tiny.options(tokenizer)), PromptOptions()).bos_token_id is None
