"""Texts of questions in texts of samples: whole, in parts, in another case and punctuation."""

import pytest

from curation.leaks.texts import MAX_QUESTIONS, MIN_SHARE, TextIndex, list_sequences

QUESTION = "Which of the two red boats on the left is nearer to the small stone bridge?"
WORDS = QUESTION.rstrip("?").split()


def test_sequences_of_words() -> None:
    words = "one two three four five six seven eight"
    assert list(list_sequences(f"{words} nine")) == [words, "two three four five six seven eight nine"]
    assert list(list_sequences("One, TWO; three (four) ‘five’ – six\nseven... EIGHT!")) == [words]
    assert list(list_sequences("one two three four five six seven")) == []
    assert list(list_sequences("一二三四五六七八")) == ["一 二 三 四 五 六 七 八"]
    assert list(list_sequences("ｏｎｅ ｔｗｏ three four five six seven eight")) == [words]


@pytest.mark.parametrize(
    "text",
    [
        QUESTION,
        QUESTION.upper(),
        QUESTION.replace(" ", ",  "),
        f"Before it there are other words. {QUESTION} And after it as well, with an answer: the first.",
    ],
)
def test_what_is_found(text: str) -> None:
    assert TextIndex([["Something else altogether that nobody has ever asked here"], [QUESTION]]).find(text) == {1: 1.0}


def test_a_part_is_found_from_70_percent_on() -> None:
    """16 words have nine sequences: seven are 78 %, six are 67 %."""
    index = TextIndex([[QUESTION]])
    assert len(WORDS) == 16
    assert index.find(" ".join(WORDS[:14])) == {0: pytest.approx(7 / 9)}
    assert index.find(" ".join(WORDS[:13])) == {}
    assert 6 / 9 < MIN_SHARE < 7 / 9


def test_the_largest_share_of_several_texts() -> None:
    """As of captions, each of which is a text."""
    index = TextIndex([["a short one", QUESTION, f"{QUESTION} One more word"]])
    assert index.find(QUESTION) == {0: 1.0}


def test_templates_and_short_texts_can_not_be_compared() -> None:
    template = "Answer with the letter of the right one among the given choices."
    shared = [[f"{template}"] for _ in range(MAX_QUESTIONS)]
    assert TextIndex(shared).compared == set(range(MAX_QUESTIONS))
    index = TextIndex([*shared, [f"{template} {QUESTION}"], ["Is it red?"]])
    assert index.compared == {MAX_QUESTIONS}
    assert index.find(template) == {}
    assert index.find(f"{template} {QUESTION}") == {MAX_QUESTIONS: 1.0}
