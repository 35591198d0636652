"""Computes VQA accuracy by the rules of the official evaluation: `vqaEval.py` of GT-Vision-Lab/VQA at a013f00.

A prediction scores min(1, n / 3), where n counts the equal answers among all people but one, averaged over who is left
out: of ten answers 2 equal ones give 0.6, 3 give 0.9, 4 give 1. Where people answer differently, their answers and the
prediction are normalised first. Where they agree, the prediction must be written as theirs is.
"""

import re
from itertools import product

from curation.scores.answers.metric import AnsweredQuestion, make_mean

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_LONE_PERIOD = re.compile(r"\.(?!\d)")  # the official pattern also looks behind, but by a slip for a literal `<=`
_MAX_PERIODS = 32  # the official script passes a flag of value 32 where the number of replacements belongs
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {"none": "0"} | {word: str(number) for number, word in enumerate(_NUMBERS)}
_ARTICLES = frozenset(("a", "an", "the"))
_WITHOUT_ALL = """
ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't it'd
it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've shouldn't somebody'll
somebody's someone'd someone'll someone's something'd something'll that's there'd there're there's they'd they'll
they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's where've who'd who'll
who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
"""
_WITHOUT_ONE = """
couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've something'd've
there'd've they'd've we'd've who'd've wouldn't've y'all'll y'all'd've you'd've 'ow's'at
"""


def _build_contractions() -> dict[str, str]:
    """Returns the official table: words that lack an apostrophe, and the words that they stand for."""
    table = {word.replace("'", ""): word for word in _WITHOUT_ALL.split()}
    for word in _WITHOUT_ONE.split():
        parts = word.split("'")
        for joints in product(("'", ""), repeat=len(parts) - 1):
            if joints.count("") == 1:
                table["".join(part + joint for part, joint in zip(parts, (*joints, ""), strict=True))] = word
    return table | {"somebody'd": "somebodyd"}  # the one entry that goes the other way


_CONTRACTIONS = _build_contractions()


def normalise_answer(answer: str) -> str:
    """Returns an answer as it is compared: without punctuation, articles and case, with numbers up to ten in digits."""
    digits = (_DIGITS.get(word, word) for word in strip_punctuation(answer).lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in digits if word not in _ARTICLES)


def strip_punctuation(answer: str) -> str:
    """Replaces punctuation by spaces; removes it instead beside a space, and everywhere in an answer with 1,000."""
    removes_all = _COMMA_IN_NUMBER.search(answer) is not None
    text = answer
    for mark in _PUNCTUATION:
        beside_space = f"{mark} " in answer or f" {mark}" in answer
        text = text.replace(mark, "" if beside_space or removes_all else " ")
    return _LONE_PERIOD.sub("", text, count=_MAX_PERIODS)


def score_vqa(question: AnsweredQuestion) -> float:
    """Returns the accuracy of the prediction, 0 to 1."""
    if not question.is_answered:  # some people's answers are empty
        return 0.0
    prediction, *answers = (
        text.replace("\n", " ").replace("\t", " ").strip() for text in (question.prediction, *question.answers)
    )
    if len(set(answers)) > 1:
        prediction, *answers = map(normalise_answer, (prediction, *answers))
    equal = [answer == prediction for answer in answers]
    return sum(min(1.0, (sum(equal) - one) / 3) for one in equal) / len(equal)


# with fewer than four people no answer could score 1
VQA_ACCURACY = make_mean("vqa_accuracy", score_vqa, min_answers=4, counts_people=True)
