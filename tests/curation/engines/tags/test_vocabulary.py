"""The vocabulary that ships, files that users pass, and what a word is."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.engines.tags.vocabulary import SHIPPED, Vocabulary, find_word_spans, read_vocabulary, split_words
from schemas.errors import UsageError


def test_the_shipped_vocabulary() -> None:
    names = read_vocabulary().names
    assert len(names) >= 1500
    assert len(set(names)) == len(names)
    assert all(name == name.lower() == " ".join(name.split()) and name.isascii() for name in names)
    assert {"person", "dog", "traffic light", "fire hydrant", "wine glass", "scissors", "hot dog stand"} <= set(names)
    assert not {"can", "will", "well", "photo", "picture", "image"} & set(names)
    assert read_vocabulary().sha256 == hashlib.sha256(SHIPPED.read_bytes()).hexdigest()


def test_comments_blank_lines_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    data = "\ufeff# Animals\r\n\r\n  Guinea  Pig \r\n猫\r\nc#\r\n".encode()
    file = tmp_path / "tags.txt"
    file.write_bytes(data)
    assert read_vocabulary(str(file)) == Vocabulary(("Guinea  Pig", "猫", "c#"), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", ": no tags in it; put one on each line"),
        (b"# only\n\n  # comments\n", ": no tags in it; put one on each line"),
        (b"dog\ncaf\xe9\n", ", line 2: not UTF-8; save the file as UTF-8"),
        (b"dog\n\nDOG\n", ", line 3: 'DOG' is on line 1 already; remove one"),
        (b"t-shirt\ncat\nt shirt", ", line 3: 't shirt' is on line 1 already; remove one"),
        ("café\ncafe\u0301".encode(), ", line 2: 'cafe\u0301' is on line 1 already; remove one"),
        (b"dog\ncat\t17\n", r", line 2: 'cat\t17' holds a tab or a control character; put one tag on each line and n"),
        (b"dog\n---\n", ", line 2: '---' holds no word; begin comments with #"),
        (b"dog\n" + b"a" * 101, ", line 2: a tag of 101 characters, 100 at most; put one tag on each line"),
        (b"dog\rcat\r", r", line 1: 'dog\rcat' holds a tab or a control character; put one tag on each line and n"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path: Path, data: bytes, problem: str) -> None:
    file = tmp_path / "tags.txt"
    file.write_bytes(data)
    with pytest.raises(UsageError) as error:
        read_vocabulary(file)
    assert str(error.value).startswith(f"vocabulary {file}{problem}")
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"no\.txt: No such file or directory; pass a text file with one tag per line$"
    ):
        read_vocabulary(tmp_path / "no.txt")
    with pytest.raises(UsageError, match=r": Is a directory; pass a text file"):
        read_vocabulary(tmp_path)
    with pytest.raises(UsageError, match=r": embedded null byte; pass a text file"):
        read_vocabulary("a\0b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A Red-Car_2.JPG", ["a", "red", "car", "2", ".", "jpg"]),
        ("dog's dogs' rock—salt -- x", ["dog", "s", "dogs", "'", "rock", "—", "salt", "-", "-", "x"]),
        ("Straße ﬁsh ｃａｔ İzmir ΐ", ["strasse", "fish", "cat", "i\u0307zmir", "ΐ"]),
        ("Cafe\u0301 wa\u00adter", ["café", "water"]),
        ("हिन्दी कुत्ता", ["हिन्दी", "कुत्ता"]),
        ("می\u200cخواهم", ["میخواهم"]),
        ("黒い犬とcat", ["黒", "い", "犬", "と", "cat"]),
        ("ﾈｺﾊﾞｽ", ["ネ", "コ", "バ", "ス"]),
        ("葛\U000e0100城 𠮷野", ["葛\U000e0100", "城", "𠮷", "野"]),
        ("고양이가", ["고양이가"]),
        ("🐕‍🦺\ud800", ["🐕", "", "🦺", "\ud800"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@given(st.text())
def test_words_and_spans_go_together_and_cover_all_letters(text: str) -> None:
    spans = find_word_spans(text)
    assert len(spans) == len(split_words(text))
    covered = [position for start, end in spans for position in range(start, end)]
    assert covered == sorted(set(covered))
    assert {position for position, character in enumerate(text) if character.isalnum()} <= set(covered)
