"""Short texts of questions in texts of samples: found where a line or a sentence says just that."""

import random
from itertools import pairwise

import pytest

from curation.leaks.short_texts import ShortTextIndex, list_sentences
from curation.leaks.texts import MAX_QUESTIONS

QUESTION = "Where is he looking?"


def test_lines_and_their_sentences() -> None:
    assert list(list_sentences("Where is he? Down.\r\nOne line\n\n“Why?” he said. 是的。不是！")) == [
        *("Where is he? Down.", "Where is he?", "Down."),
        "One line",
        *("“Why?” he said. 是的。不是！", "“Why?", "he said.", "是的。", "不是！"),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (QUESTION, True),
        ("  WHERE is  he looking", True),
        ("Ｗｈｅｒｅ is he looking？", True),
        ("Where is he looking?\nAnswer the question using a single word or phrase.", True),
        ("It is a photo. Where is he looking? Down.", True),
        ('"Where is he looking?" "Down."', True),
        (f"Before it. {QUESTION} {'word ' * 500}", True),
        ("Where is he looking now?", False),
        ("Tell me where is he looking?", False),
        ("Where is he?", False),
        ("", False),
    ],
)
def test_what_is_found(text: str, found: bool) -> None:
    assert ShortTextIndex([["yes"], [QUESTION, "down"]]).find(text) == ({1} if found else set())


def test_characters_are_words_where_there_are_no_spaces() -> None:
    index = ShortTextIndex([["他在看哪里？"]])
    assert index.compared == {0}
    assert index.find("这是一张照片。他在看哪里？下面。") == {0}


def test_what_can_not_be_compared() -> None:
    """Two words are too common, and so is what more than ten questions share; eight are `TextIndex`'s."""
    shared = [["What is it?"] for _ in range(MAX_QUESTIONS)]
    others = [["red bus"], ["one two three four five six seven eight"], ["one two three four five six seven"], []]
    assert ShortTextIndex([*shared, *others]).compared == {*range(MAX_QUESTIONS), MAX_QUESTIONS + 2}
    index = ShortTextIndex([*shared, ["what is it", QUESTION]])
    assert index.compared == {MAX_QUESTIONS}
    assert index.find("What is it?") == set()
    assert ShortTextIndex([]).find("What is it?") == set()


def test_planted_questions_and_nothing_else() -> None:
    """Of 200 questions of 3 to 7 words every second one is planted, beside sentences of the same words."""
    rng = random.Random(0)
    words = [*("what", "color", "is", "the", "small", "red"), *("dog", "cat", "bus", "left", "of", "a", "man", "two")]
    drawn = {tuple(rng.choices(words, k=rng.randint(3, 7))) for _ in range(800)}
    texts = [" ".join(one) for one in sorted(drawn)]
    rng.shuffle(texts)
    asked, others = texts[:200], texts[200:]
    index = ShortTextIndex([[text] for text in asked])
    planted = set(range(0, 200, 2))
    found = set[int]()
    for number in planted:
        before, after = rng.choice(others), rng.choice(others)
        found |= index.find(f"{before.capitalize()}. {asked[number].upper()}? {after}!")
    assert found == planted
    assert set[int]().union(*(index.find(f"{one}. {other}") for one, other in pairwise(others))) == set()
