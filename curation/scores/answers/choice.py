"""Scores multiple choices, whose right answer is a letter.

A model may answer by a letter, by a sentence with one, or by the text of a choice. The rule that finds the letter is
that of VLMEvalKit's `can_infer` where no LLM judges: the one letter that is a word of the answer, else the one choice
whose text the answer has. An answer by neither is wrong.
"""

import string

from curation.scores.answers.metric import AnsweredQuestion, Counts, Group, Metric, make_mean
from curation.scores.bootstrap import divide

LETTERS = string.ascii_uppercase
_MARKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_LONGEST_WITH_A = 3  # words of an answer in which "A" is a letter rather than an article
_LAST_WORDS = 5  # of the answer, one of which the letter must be


def find_choice(prediction: str, choices: tuple[str, ...]) -> str | None:
    """Returns the letter of the choice that an answer names; None if it names none, or several."""
    letters = LETTERS[: len(choices)]
    words = prediction.translate(_MARKS).split()
    named = [letter for letter in letters if letter in words]
    if len(named) == 1:
        is_article = "A" in words and len(words) > _LONGEST_WITH_A
        if not is_article and words.index(named[0]) > len(words) - _LAST_WORDS:
            return named[0]
    text = prediction.lower()
    said = [letter for letter, choice in zip(letters, choices, strict=True) if choice.lower() in text]
    return said[0] if len(said) == 1 else None


def score_choice(question: AnsweredQuestion) -> float:
    """Returns 1 if the answer names the right choice, else 0."""
    return float(find_choice(question.prediction, question.choices) in question.answers)


def count_circle(question: Group) -> Counts:
    """Counts a question that is asked with its choices in several orders: it is right if it is right in all."""
    right = [score_choice(one) for one in question]
    return {"circles": 1, "circles_right": float(all(right)), "questions": len(right), "right": sum(right)}


MULTIPLE_CHOICE = make_mean("multiple_choice", score_choice, has_choices=True)

# CircularEval of MMBench. A group is a question with all orders of its choices that are asked.
CIRCULAR_CHOICE = Metric(
    "circular_choice",
    lambda groups: [count_circle(group) for group in groups],
    {
        "circular_accuracy": lambda sums: divide(sums["circles_right"], sums["circles"]),
        "accuracy": lambda sums: divide(sums["right"], sums["questions"]),
    },
    has_choices=True,
)
