"""CIDEr-D against pycocoevalcap 1.2, whose `CiderScorer` gave the numbers below on 2026-11-30."""

import pytest

from curation.scores.answers.cider import CIDER
from curation.scores.answers.metric import AnsweredQuestion
from curation.scores.answers.scoring import score_answers

CORPUS = [  # prediction, references, score
    (
        "a brown dog runs on the grass",
        ("a dog is running on green grass", "a brown dog runs through the grass", "the dog runs on the grass"),
        4.4478377681,
    ),
    (
        "two people ride a red bus in the rain",
        ("a red bus drives down a wet street", "people get on a red bus"),
        2.0902684453,
    ),
    ("a a a a cat", ("a cat sleeps on a couch", "a black cat on a couch", "the cat is asleep"), 1.4879941842),
    ("", ("a man holds a large pizza", "man with a pizza"), 0.0),
    (
        "a plate",
        ("a plate of food with a fork and a knife on a white table cloth in a dim room",),
        0.0243747673,
    ),
    ("dog", ("dog",), 2.5),
]
QUESTIONS = [
    AnsweredQuestion(str(number), references, prediction) for number, (prediction, references, _) in enumerate(CORPUS)
]


def test_scores_are_those_of_pycocoevalcap() -> None:
    counts = CIDER.count([[question] for question in QUESTIONS])
    assert [one["score"] for one in counts] == pytest.approx([score for _, _, score in CORPUS], abs=1e-9)
    assert score_answers(CIDER, QUESTIONS)["cider"].value == pytest.approx(1.7584125274704698, abs=1e-12)


def test_words_of_every_image_weigh_nothing() -> None:
    assert CIDER.count([[AnsweredQuestion("1", ("a dog runs",), "a dog")]]) == [{"score": 0.0, "questions": 1}]


def test_captions_are_split_as_the_references_are() -> None:
    """Case and punctuation do not count."""
    told = [AnsweredQuestion("1", ("A dog, asleep.",), "a dog asleep!"), AnsweredQuestion("2", ("Cats.",), "cats")]
    assert [one["score"] for one in CIDER.count([[one] for one in told])] == pytest.approx([7.5, 2.5])
