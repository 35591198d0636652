"""Scores multiple choices, whose right answer is a letter.

A model may answer by a letter, by a sentence with one, or by the text of a choice. The rule that finds the letter is
that of VLMEvalKit's `can_infer` where no LLM judges: the one letter that is a word of the answer, else the one choice
whose text the answer has. An answer by neither is wrong. The rule here also finds two kinds that are left to the LLM
there: a choice whose text has that of another one inside, and a letter beside Chinese, Japanese or Korean.
"""

import re
import string
import unicodedata

from curation.scores.answers.metric import AnsweredQuestion, Counts, Group, Metric, make_mean
from curation.scores.bootstrap import divide

LETTERS = string.ascii_uppercase
_MARKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_EAST_ASIAN = re.compile("[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uff00-\uffef]+")  # and its punctuation
_LONGEST_WITH_A = 3  # words of an answer in which "A" is a letter rather than an article
_GAP = "\0"  # in place of a choice's text, so that what is around it is not joined
_LAST_WORDS = 5  # of the answer, one of which the letter must be


def find_choice(prediction: str, choices: tuple[str, ...]) -> str | None:
    """Returns the letter of the choice that an answer names; None if it names none, or several."""
    letters = LETTERS[: len(choices)]
    words = _split_words(prediction)
    named = [letter for letter in letters if letter in words]
    if len(named) == 1:
        is_article = "A" in words and len(words) > _LONGEST_WITH_A
        if not is_article and words.index(named[0]) > len(words) - _LAST_WORDS:
            return named[0]
    said = _find_texts(prediction.lower(), [choice.lower() for choice in choices])
    return letters[said[0]] if len(said) == 1 else None


def _split_words(text: str) -> list[str]:
    """Returns the words of an answer without its punctuation, and without words that are written without spaces."""
    if not text.isascii() and _EAST_ASIAN.search(text):
        text = _EAST_ASIAN.sub(" ", unicodedata.normalize("NFKC", text))
    return text.translate(_MARKS).split()


def _find_texts(text: str, choices: list[str]) -> list[int]:
    """Returns the numbers of the choices that a text has, without those that are only inside another of them."""
    said = [number for number, choice in enumerate(choices) if choice and choice in text]
    return [number for number in said if choices[number] in _hide_longer(text, choices[number], choices)]


def _hide_longer(text: str, choice: str, choices: list[str]) -> str:
    """Returns a text without the choices that have this one inside."""
    for longer in sorted({one for one in choices if choice in one and one != choice}, key=len, reverse=True):
        text = text.replace(longer, _GAP)
    return text


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
