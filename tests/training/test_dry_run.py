"""What a run would be, in words."""

from pathlib import Path

import pytest

from schemas.errors import UsageError
from tests.training import runs
from tests.training.model.tiny import pack
from training.dry_run import dry_run, in_words
from training.model.tokens import load_tokenizer


def test_the_first_sequence(tokenizer: Path) -> None:
    batch = runs.batch(3, length=64)
    assert in_words(batch, load_tokenizer(runs.recipe(tokenizer).model)) == (
        "--- sample 1: tiny 0, 26 positions\n"
        "[image 4 tokens: tiny/0]a picture of 3 and 21<|endoftext|>\n"
        "--- sample 2: tiny 1, 22 positions\n"
        "text number 3 says so<|endoftext|>\n"
        "--- padding: 16 positions"
    )


def test_texts_steer_no_terminal(tokenizer: Path) -> None:
    words = in_words(pack([[["a\x1b[31mred\nline\x9b\u202e"]]]), load_tokenizer(runs.recipe(tokenizer).model))
    assert words == "--- sample 1: tiny 0, 19 positions\na\\x1b[31mred\nline\\x9b\\u202e"


def test_the_report(tokenizer: Path, tmp_path: Path) -> None:
    asked = runs.packed(tmp_path, tokenizer, steps=1500, optimiser=runs.ALL | {"law": "mm1"})
    told = dry_run(asked, ranks=2).splitlines()
    assert told[0] == "parameters  177,523, of which 132,499 learn"
    assert told[2] == "memory per device, sharded over 2:"
    assert told[5].split() == ["resampler", "14,784", "14,784", "29.6", "kB", "59.1", "kB", "59.1", "kB"]
    assert told[6].startswith("  language model          117,715        117,715")
    assert "a step      4 sequences of 128: 512 tokens at most" in told
    assert "steps       1,500: 768,000 tokens at most" in told
    assert "rates       tower frozen, connector 0.00488, language 0.00488; constant, 0 steps of warm-up" in told
    assert sum(line.startswith("--- sample ") for line in told) >= 4
    assert any("[image 4 tokens: captions/c0000" in line for line in told)


def test_ranks_that_cannot_be(tokenizer: Path) -> None:
    with pytest.raises(UsageError, match="--ranks 0: there is at least one"):
        dry_run(runs.recipe(tokenizer), 0)
    with pytest.raises(UsageError, match="sequences: 2 a step can't be shared out"):
        dry_run(runs.recipe(tokenizer), 3)
