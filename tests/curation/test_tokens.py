"""Counts are those of the tokenizer's own file, whatever else it asks for; anything else is refused by name."""

import hashlib
import pickle
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from curation.tokens import load_token_counter
from schemas.errors import UsageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A tokenizer of words that cuts at three, pads to ten and puts two special tokens around a text."""
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "<s>": 1, "</s>": 2, "word": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=10)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_the_whole_text_is_counted_and_nothing_else(file: Path) -> None:
    counter = load_token_counter(str(file), allow_download=False)
    assert counter.count(["one two three four five"]) == 5
    assert counter.count(["word, word", "", "  ", "日本 語"]) == 5
    assert counter.count([]) == 0
    copy = pickle.loads(pickle.dumps(counter))  # noqa: S301  our own bytes
    assert copy.count(["a b c d"]) == 4
    assert copy.fingerprint == counter.fingerprint


def test_the_fingerprint_is_that_of_the_file(file: Path) -> None:
    counter = load_token_counter(str(file.parent), allow_download=False)
    assert counter.fingerprint.weights_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert counter.fingerprint.name == "tokenizer"


def test_what_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "tokenizer.json").write_text("{}")
    for name, message in (
        (str(tmp_path / "tokenizer.json"), r"tokenizer\.json is not a tokenizer\.json of the tokenizers library: "),
        (str(tmp_path / "empty"), r"tokenizer: cannot read .*empty/tokenizer\.json: No such file or directory; pass a"),
        (str(tmp_path / "none.json"), r"tokenizer: cannot read .*none\.json: No such file"),
        ("someone/something", r"tokenizer: no file or folder someone/something; pass a .*, or allow_download to fetch"),
    ):
        with pytest.raises(UsageError, match=message):
            load_token_counter(name, allow_download=False)
