"""HallusionBench by a rule: questions, figures, and questions over all figures of a set."""

import pytest

from curation.scores.answers.hallusion import HALLUSION_RULE, count_set, read_yes_or_no
from curation.scores.answers.metric import AnsweredQuestion
from curation.scores.answers.scoring import score_answers


def question(uid: str, answer: str, prediction: str) -> AnsweredQuestion:
    return AnsweredQuestion(uid, (answer,), prediction, group=uid.rsplit("_", 2)[0])


SET = [
    question("VD_illusion_0_0_0", "yes", "Yes."),
    question("VD_illusion_0_0_1", "Yes", "No, it is not."),
    question("VD_illusion_0_1_0", "no", "no"),
    question("VD_illusion_0_1_1", "no", "No"),
]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        *(("Yes.", "yes"), ("The answer is NO", "no"), ("yes or no", None), ("Not at all", None), ("", None)),
        *(("I know", None), ("yes, yes", "yes")),
    ],
)
def test_reading(text: str, answer: str | None) -> None:
    assert read_yes_or_no(text) == answer


def test_counts_do_not_depend_on_the_order() -> None:
    assert count_set(SET[::-1]) == count_set(SET)


def test_counts_of_a_set() -> None:
    assert count_set(SET) == {
        **{"questions": 4, "right": 3},
        **{"figures": 2, "figures_right": 1},
        **{"pairs": 2, "pairs_right": 1},
    }
    assert count_set([question("lone", "no", "no")]) == {
        **{"questions": 1, "right": 1},
        **{"figures": 1, "figures_right": 1},
        **{"pairs": 1, "pairs_right": 1},
    }


def test_figure_0_of_vs_is_no_figure() -> None:
    """As the publisher's `get_eval_fig` counts; its questions count all the same."""
    shown = [question("VS_map_1_0_0", "yes", "yes"), question("VS_map_1_1_0", "no", "yes")]
    assert count_set(shown) == {
        **{"questions": 2, "right": 1},
        **{"figures": 1, "figures_right": 0},
        **{"pairs": 1, "pairs_right": 0},
    }


def test_figures() -> None:
    found = score_answers(HALLUSION_RULE, [*SET, question("VD_illusion_1_0_0", "yes", "yes")])
    assert {name: estimate.value for name, estimate in found.items()} == {
        "accuracy": 4 / 5,
        "figure_accuracy": 2 / 3,
        "question_accuracy": 2 / 3,
    }
