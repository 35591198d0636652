"""Boxes that a model writes."""

import pytest

from curation.scores.answers.grounding import GROUNDING, read_box
from curation.scores.answers.metric import AnsweredQuestion
from curation.scores.answers.scoring import score_answers
from schemas.records.box import Box


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("[0.1, 0.2, 0.5, 0.6]", (0.1, 0.2, 0.5, 0.6)),
        ("a dog at [.5,.6,.1,.2].", (0.1, 0.2, 0.5, 0.6)),
        ("<box>(100,200),(500,600)</box>", (0.1, 0.2, 0.5, 0.6)),
        ("[[100, 200, 500, 600], [1, 2, 3, 4]]", (0.1, 0.2, 0.5, 0.6)),
        ("[0, 0, 1, 1]", (0, 0, 1, 1)),
        ("3 dogs [0.1, 0.2, 0.5, 0.6]", (0.1, 0.2, 0.5, 0.6)),
        ("[0.1000000000000001, 0.2, 0.5, 0.6000000000000001]", (0.1000000000000001, 0.2, 0.5, 0.6000000000000001)),
        ("[1e-1, 0.2, 5e-01, 0.6]", (0.1, 0.2, 0.5, 0.6)),
        ("There are 3, [0.1, 0.2, 0.5, 0.6]", (0.1, 0.2, 0.5, 0.6)),  # numbers in brackets come first
        ("of 2 [dogs] 0.1 0.2 0.5 0.6", (0.1, 0.2, 0.5, 0.6)),
        ("[-0.1, 0.2, 0.5, 0.6]", (0, 0.2, 0.5, 0.6)),
        ("<|box_start|>(100,200),(500,600)<|box_end|>", (0.1, 0.2, 0.5, 0.6)),
        ('{"bbox_2d": [100, 200, 500, 600], "label": "dog"}', (0.1, 0.2, 0.5, 0.6)),
        ("((100, 200), (500, 600))", (0.1, 0.2, 0.5, 0.6)),
        ("[" * 100_000, None),
        ("[0.1, 0.2, 0.5]", None),
        ("no box", None),
        ("1 " * 100_000 + "x", (1, 1, 1, 1)),
        (" " * 100_000, None),
    ],
)
def test_the_first_box_of_a_text(text: str, box: Box | None) -> None:
    assert read_box(text) == box


def test_right_answers_without_a_box() -> None:
    assert GROUNDING.find_fault is not None
    assert GROUNDING.find_fault(("[0, 0, 1, 1]", "left")) == "the answer 'left' has no box"
    assert GROUNDING.find_fault(("[0, 0, 1, 1]",)) is None


def test_figures() -> None:
    """One box of two is right; an overlap of a half is enough, one of a third is not, and no box is wrong."""
    told = [
        ("[0, 0, 0.2, 0.1]", ("[0, 0, 0.1, 0.1]", "[0.5, 0.5, 1, 1]")),
        ("[0, 0, 0.2, 0.1]", ("[0.1, 0, 0.3, 0.1]",)),
        ("I see none", ("[0, 0, 1, 1]",)),
    ]
    questions = [AnsweredQuestion(str(n), answers, given) for n, (given, answers) in enumerate(told)]
    values = {name: one.value for name, one in score_answers(GROUNDING, questions).items()}
    assert values == pytest.approx({"accuracy": 1 / 3, "mean_iou": (1 / 2 + 1 / 3) / 3, "boxes_share": 2 / 3})
