"""Sentences that repeat the words of a prompt are dropped and counted; the others stay to the byte."""

import pytest

from curation.captions.written.leaks import LeakFilter, parse_phrases
from schemas.errors import UsageError

PROMPT = "Rewrite what follows so that it has the facts.\n{dense}\nThe page says: {alt_text}\nOne paragraph, please."
LEAKS = LeakFilter.build(["alt text", "as an AI"], [PROMPT])


@pytest.mark.parametrize(
    ("caption", "kept", "sentences", "dropped"),
    [
        ("A dog sits. The Alt-Text names Rex. A cat sleeps.", "A dog sits. A cat sleeps.", 3, 1),
        ("As an AI, I see a dog.", "", 1, 1),
        ("A dog.\n\nI rewrite what follows so that it has them.  A  cat.", "A dog.  A  cat.", 3, 1),
        ("Rewrite what follows so that is.", "Rewrite what follows so that is.", 1, 0),  # five words of the prompt
        ("The facts the page says: dogs.", "The facts the page says: dogs.", 1, 0),  # a field is between them
        ("An alternative text. Salt textures.", "An alternative text. Salt textures.", 2, 0),  # whole words alone
        ("", "", 0, 0),
    ],
)
def test_sentences_that_leak(caption: str, kept: str, sentences: int, dropped: int) -> None:
    assert LEAKS.drop_leaks(caption) == (kept, sentences, dropped)


def test_a_quotation_is_not_cut() -> None:
    """A full stop within it ends no sentence."""
    caption = 'A sign says "Go. The alt text. Stop." in red. A dog.'
    assert LEAKS.drop_leaks(caption) == ("A dog.", 2, 1)


def test_a_file_of_phrases() -> None:
    assert parse_phrases(b"# comment\n\n alt text \nas an AI\r\n", "leak_phrases") == ["alt text", "as an AI"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"# nothing\n", "it has no phrase"),
        (b"alt text\n--\n", "'--' has no word"),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b"a" * 65537, "it has more than 65,536 bytes"),
    ],
)
def test_wrong_files_of_phrases(content: bytes, fault: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_phrases(content, "leak_phrases")
    assert str(error.value) == f"leak_phrases: {fault}"
