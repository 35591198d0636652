"""Names to prompts with a small vocabulary whose separators lie where BERT's do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizer

from curation.engines.boxes.prompts import (
    CLS,
    DOT,
    SEP,
    BoxLabel,
    Prompt,
    build_name_tokenizer,
    is_name_token,
    label_box,
    pack_prompts,
)

WORDS = ["cat", "dog", "traffic", "light", "st", "bernard", "u", "s", "##s", "-", "'"]
VOCABULARY = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
VOCABULARY |= {f"[unused{n}]": n for n in range(1030) if n not in VOCABULARY.values()}
VOCABULARY |= {word: 1030 + n for n, word in enumerate(WORDS)}

tokens = build_name_tokenizer(BertTokenizer(vocab=VOCABULARY))


def ids(*words: str) -> tuple[int, ...]:
    return tuple(VOCABULARY[word] for word in words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cat", ["cat"]),
        ("Traffic  LIGHT", ["traffic", "light"]),
        ("cats", ["cat", "##s"]),
        ("St. Bernard", ["st", "bernard"]),
        ("U.S. dog?", ["u", "s", "dog"]),
        ("dog's", ["dog", "'", "s"]),
        ("cat 🦊", ["cat", "[UNK]"]),
        ("cat[SEP]", ["cat", "[UNK]", "[UNK]", "[UNK]"]),
        ("🦊", []),
        (" . ? ", []),
        ("", []),
        ("\ud800cat\udfff", ["cat"]),
    ],
)
def test_name_tokens(name: str, words: list[str]) -> None:
    assert tokens(name) == ids(*words)


def test_positions_of_names() -> None:
    [prompt] = pack_prompts(["Cats", "traffic light", "dog"], tokens, 256, 100)
    assert prompt.ids == (CLS, *ids("cat", "##s"), DOT, *ids("traffic", "light"), DOT, *ids("dog"), DOT, SEP)
    assert prompt.names == ("Cats", "traffic light", "dog")
    assert prompt.spans == ((1, 3), (4, 6), (7, 8))
    assert is_name_token(prompt).tolist() == [False, True, True, False, True, True, False, True, False, False]


def test_the_prompt_is_what_the_published_processor_makes() -> None:
    [prompt] = pack_prompts(["cat", "traffic light"], tokens, 256, 100)
    assert list(prompt.ids) == BertTokenizer(vocab=VOCABULARY)("cat. traffic light.")["input_ids"]


def test_repeated_and_empty_names() -> None:
    [prompt] = pack_prompts(["Cat", "cat", "cat.", "", "?", "🦊", "dog"], tokens, 256, 100)
    assert prompt.names == ("Cat", "dog")
    assert pack_prompts([], tokens, 256, 100) == pack_prompts(["", ".", "🦊"], tokens, 256, 100) == []


def test_full_prompts() -> None:
    names = ["cat", "dog", "traffic light", "light", "st bernard"]
    assert [prompt.names for prompt in pack_prompts(names, tokens, 256, 100)] == [tuple(names)]
    by_size = {size: [prompt.names for prompt in pack_prompts(names, tokens, size, 100)] for size in (5, 6, 9)}
    assert by_size[5] == [("cat",), ("dog",), ("traffic light",), ("light",), ("st bernard",)]
    assert by_size[6] == [("cat", "dog"), ("traffic light",), ("light",), ("st bernard",)]
    assert by_size[9] == [("cat", "dog", "traffic light"), ("light", "st bernard")]
    assert [len(prompt.ids) for prompt in pack_prompts(names, tokens, 9, 100)] == [9, 7]
    assert pack_prompts(names, tokens, 14, 100) == pack_prompts(names, tokens, 256, 100), "14 are what all five take"
    assert len(pack_prompts(names, tokens, 13, 100)) == 2


@pytest.mark.parametrize(("max_tokens", "max_name", "room"), [(6, 100, 3), (256, 3, 3)])
def test_a_name_is_never_cut(max_tokens: int, max_name: int, room: int) -> None:
    with pytest.raises(ValueError, match=rf"^'cat dog light u' has 4 tokens; a name may have {room}, and none is cut$"):
        pack_prompts(["dog", "cat dog light u"], tokens, max_tokens, max_name)
    assert len(pack_prompts(["dog", "cat dog light"], tokens, max_tokens, max_name)[-1].ids) == 6 + 2 * (max_tokens > 6)


@given(
    st.lists(st.text(max_size=12) | st.sampled_from([*WORDS, "[SEP]", "[CLS] cat"]), max_size=12), st.integers(20, 60)
)
def test_any_names(names: list[str], max_tokens: int) -> None:
    prompts = pack_prompts(names, tokens, max_tokens, 17)
    seen = [tokens(name) for name in names]
    assert [tokens(name) for prompt in prompts for name in prompt.names] == list(dict.fromkeys(filter(None, seen)))
    for prompt in prompts:
        assert len(prompt.ids) <= max_tokens
        assert (prompt.ids[0], prompt.ids[-1]) == (CLS, SEP)
        assert [prompt.ids[start:stop] for start, stop in prompt.spans] == [tokens(name) for name in prompt.names]
        assert all(prompt.ids[stop] == DOT for _, stop in prompt.spans)
        assert len(prompt.ids) == 2 + len(prompt.spans) + int(is_name_token(prompt).sum())


PROMPT = Prompt((CLS, 1, 2, DOT, 3, DOT, 4, 5, DOT, SEP), ("cat dog", "light", "u s"), ((1, 3), (4, 5), (6, 8)))


@pytest.mark.parametrize(
    ("probabilities", "grounded"),
    [
        ([0.9, 0.5, 0.5, 0.9, 0.25, 0.9, 0, 0, 0.9, 0.9], BoxLabel("cat dog", (1, 2), 0.5)),  # separators never count
        ([0, 0.625, 0.125, 0, 0.5, 0, 0, 0, 0, 0], BoxLabel("light", (1, 3), 0.5)),  # by the mean, not the highest
        ([0, 0.25, 0.25, 0, 0, 0, 0.5, 0, 0, 0], BoxLabel("u s", (4,), 0.5)),  # only with a token above the threshold
        ([0, 0.5, 0.5, 0, 0.5, 0, 0.5, 0.5, 0, 0], BoxLabel("cat dog", (1, 2, 3, 4, 5), 0.5)),  # the first of equals
        ([1, 0.25, 0.25, 1, 0.25, 1, 0.25, 0.25, 1, 1], None),
    ],
)
def test_ground(probabilities: list[float], grounded: BoxLabel | None) -> None:
    assert label_box(PROMPT, np.array(probabilities, np.float32), 0.25) == grounded
