"""Answers end at the tokens that close a turn, or before a text where no token does."""

from pathlib import Path

from tests.training.support import tiny
from training.model.generation.endings import Endings, find_end_tokens
from training.model.generation.options import GenerateOptions
from training.model.tokens import load_tokenizer

NEWLINE, SYSTEM, USER, TURN_END, CHUNK_END = 10, 257, 258, 260, 264


def test_the_first_special_token_of_a_closing_ends_an_answer(tokenizer: Path) -> None:
    loaded = load_tokenizer(tiny.options(tokenizer))
    usual = {tiny.END, TURN_END, CHUNK_END}
    assert find_end_tokens(loaded) == find_end_tokens(loaded, (NEWLINE,)) == usual
    assert find_end_tokens(loaded, (NEWLINE, USER, SYSTEM)) == usual | {USER}


def test_a_closing_without_one_ends_it_by_its_text(tokenizer: Path) -> None:
    loaded, options = load_tokenizer(tiny.options(tokenizer)), GenerateOptions(stop=("x",))
    assert Endings(loaded, options, (NEWLINE, USER)).texts == ("x",)
    assert Endings(loaded, options, (NEWLINE, NEWLINE)).texts == ("x", "\n\n")
    assert Endings(loaded, options, ()).texts == ("x",)


def test_the_text_before_the_first_stop_is_read(tokenizer: Path) -> None:
    loaded = load_tokenizer(tiny.options(tokenizer))
    endings = Endings(loaded, GenerateOptions(stop=("f", "p o")), ())
    assert endings.read(list(b"map of")) == "ma"
    assert endings.read(list(b"map")) is None
    assert endings.read([*b"map", tiny.END]) == "map"
    assert endings.read([tiny.END]) == ""
