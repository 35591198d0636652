"""Scans of bytes find what regular expressions find in each text."""

import re

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st

from curation.captions.atoms import SENTENCE_MARKS
from curation.captions.scans import find_endings, find_escaped

TEXTS = st.lists(st.none() | st.text(alphabet='ab"\\&<\x00\x1f\n é。！?', max_size=6), max_size=12)


def cut(texts: list[str | None]) -> pa.StringArray:
    """The texts, as a slice of an array that has others around them."""
    return pa.array(['"before.', *texts, '"after.'], pa.string()).slice(1, len(texts))


def search(texts: list[str | None], pattern: str) -> list[bool]:
    return [text is not None and re.search(pattern, text) is not None for text in texts]


@given(TEXTS)
def test_characters_to_escape(texts: list[str | None]) -> None:
    assert find_escaped(cut(texts), '"&').tolist() == search(texts, r'[\x00-\x1f"&]')
    for characters, pattern in (("", r'[\x00-\x1f]|&[b"]'), ("。", "[\x00-\x1f。]")):
        found = find_escaped(cut(texts), characters, entities="" if characters else 'b"')
        wanted = search(texts, pattern)  # and perhaps more
        assert all(is_found for is_found, is_wanted in zip(found, wanted, strict=True) if is_wanted)
    assert find_escaped(cut(["a&b", "a&c", "&"]), "", entities="b").tolist() == [True, False, False]
    assert find_escaped(cut(["a。", "aé"]), "。").tolist() == [True, False]


@given(TEXTS)
def test_endings(texts: list[str | None]) -> None:
    filled = cut([text or "" for text in texts])
    expected = pc.match_substring_regex(filled, rf"[{SENTENCE_MARKS}]\z")
    assert find_endings(filled, SENTENCE_MARKS).tolist() == expected.to_pylist()


def test_nothing_to_scan() -> None:
    for texts in (pa.array([], pa.string()), pa.array([None, ""], pa.string()), pa.nulls(2, pa.string())):
        assert not find_escaped(texts, '"').any()
        assert not find_endings(texts, ".").any()
