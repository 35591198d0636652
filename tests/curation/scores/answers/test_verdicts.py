"""How a judge's text is read, and the mean of its verdicts."""

import pytest

from curation.scores.answers.metric import AnsweredQuestion
from curation.scores.answers.scoring import score_answers
from curation.scores.answers.verdicts import JUDGED, read_verdict
from curation.scores.bootstrap import UNKNOWN


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("0.8", 0.8),
        ("Score: 1.0.", 1.0),
        ("The answer is partly right. 0.5", 0.5),
        ("0", 0.0),
        ("0.5 ... so 0.5", 0.5),
        ("between 0.3 and 0.5", None),
        ("8", None),
        ("80%", None),
        ("1.0.2", None),
        ("v1", None),
        ("wrong", None),
        ("", None),
    ],
)
def test_numbers(text: str, score: float | None) -> None:
    assert read_verdict(text, {}) == score


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Correct", 1.0),
        ("**correct**, because", 1.0),
        ("incorrect.", 0.0),
        ("2", 0.5),
        ("It is correct", None),
        ("", None),
    ],
)
def test_labels(text: str, score: float | None) -> None:
    assert read_verdict(text, {"correct": 1.0, "incorrect": 0.0, "2": 0.5}) == score


def test_the_mean_leaves_out_what_has_no_verdict() -> None:
    scores = (0.5, 1.0, None, 0.0)
    questions = [AnsweredQuestion(f"{n}", (), "", verdict_score=score) for n, score in enumerate(scores)]
    assert score_answers(JUDGED, questions)["judged"].value == 0.5
    assert score_answers(JUDGED, questions[2:3])["judged"] == UNKNOWN
