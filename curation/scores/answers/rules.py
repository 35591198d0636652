"""Scores answers by rules where a benchmark has an LLM read or judge them: the scores are not the benchmark's own.

The rules read what a sentence gives as its answer, so that "There are 14 birds." is right where 14 is.
"""

import re

from curation.scores.answers.choice import score_choice
from curation.scores.answers.metric import AnsweredQuestion, make_mean

_NUMBER = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d*\.?\d+")
_ALL, _ANY = "<AND>", "<OR>"  # between the parts of an answer of MM-Vet


def score_answer(question: AnsweredQuestion) -> float:
    """Returns 1 if the prediction gives a right answer, else 0.

    A question with choices is answered by a letter or a choice's text, as in `multiple_choice`. A number must be the
    last one of the prediction, rounded to as many places as the right one has. A text must occur in the prediction as
    words of their own, but for case and white space.
    """
    if question.choices:
        return score_choice(question)
    return float(any(_gives(answer, question.prediction) for answer in question.answers))


def score_parts(question: AnsweredQuestion) -> float:
    """Returns the share of the parts of an answer of MM-Vet that the prediction has, 0 to 1.

    `<AND>` stands between parts of which all are asked for, `<OR>` between those of which one suffices.
    """
    return max((_count_share(answer, question.prediction) for answer in question.answers), default=0.0)


def _count_share(answer: str, prediction: str) -> float:
    parts = [part.split(_ANY) for part in answer.split(_ALL)]
    return sum(any(_has_words(one, prediction) for one in part) for part in parts) / len(parts)


def _gives(answer: str, prediction: str) -> bool:
    right = _read_number(answer)
    if right is None:
        return _has_words(answer, prediction)
    numbers = _NUMBER.findall(prediction)
    given = _read_number(numbers[-1]) if numbers else None
    return given is not None and round(given, _count_places(answer)) == right


def _read_number(text: str) -> float | None:
    text = text.strip()
    return float(text.replace(",", "")) if _NUMBER.fullmatch(text) else None


def _count_places(number: str) -> int:
    return len(number.strip().partition(".")[2])


def _has_words(answer: str, prediction: str) -> bool:
    words, said = (" ".join(text.casefold().split()) for text in (answer, prediction))
    words = words.removesuffix(".")
    return bool(words) and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", said) is not None


ANSWER_RULE = make_mean("answer_rule", score_answer, may_have_choices=True)
MM_VET_RULE = make_mean("mm_vet_rule", score_parts)
