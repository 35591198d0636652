"""The ordinary error rates: those of jiwer, in the order of reading, for the pictures whose truth allows it."""

import json

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.scores.bootstrap import UNKNOWN
from curation.scores.ordered_text import add_ordinary_rates, count_edits, count_ordinary_errors
from curation.scores.text import ErrorCounts, score_texts
from schemas.records.ground_truth import TextTruth
from schemas.records.text_line import TextLine

WORDS = st.lists(st.text("abc", min_size=1, max_size=4), max_size=5).map(" ".join)


def line(text: str) -> TextLine:
    box = (0.0, 0.0, 1.0, 1.0)
    return TextLine(text, (0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0), box, 1.0)


def truth(*texts: str, complete: bool = True, **more: object) -> TextTruth:
    items = [{"text": text, "bbox": [0, 0, 9, 9]} for text in texts]
    values = {"file": "a", "width": 10, "height": 10, "complete": complete, "items": items}
    return TextTruth.model_validate_json(json.dumps(values | more))


def test_the_order_of_lines_counts() -> None:
    swapped = count_ordinary_errors(truth("one", "two"), [line("two"), line("one")])
    assert swapped == ErrorCounts(7, 6, 2, 2)
    assert count_ordinary_errors(truth("one", "two"), [line("one  two")]) == ErrorCounts(7, 0, 2, 0)


def test_an_empty_truth_and_an_empty_reading() -> None:
    assert count_edits("", "a b") == ErrorCounts(0, 3, 0, 2)
    assert count_edits("a b", "") == ErrorCounts(3, 3, 2, 2)
    assert count_edits("", "") == ErrorCounts()


@given(WORDS.filter(bool), WORDS)
def test_the_rates_are_jiwers(right: str, given_: str) -> None:
    counts = count_edits(right, given_)
    assert counts.cer == pytest.approx(jiwer.cer(right, given_))
    assert counts.wer == pytest.approx(jiwer.wer(right, given_))


def test_truths_that_say_not_all() -> None:
    assert count_ordinary_errors(truth("one", complete=False), [line("one")]) is None
    assert count_ordinary_errors(truth("ONE", case_insensitive=True), [line("one")]) == ErrorCounts(3, 0, 1, 0)


def test_the_rates_are_beside_todays() -> None:
    pictures = [("a", ErrorCounts(4, 1, 1, 1)), ("b", ErrorCounts(6, 3, 2, 1))]
    scores = score_texts(pictures)
    assert add_ordinary_rates(scores, [("a", None), ("b", None)]) is scores
    added = add_ordinary_rates(scores, [("a", None), ("b", ErrorCounts(10, 4, 2, 2))])
    assert [(one.ordinary_cer.value, one.ordinary_wer.value) for one in added.sources] == [(None, None), (0.4, 1.0)]
    assert (added.total.ordinary_cer.value, added.total.ordinary_wer.value) == (0.4, 1.0)
    assert added.total.cer == scores.total.cer
    assert scores.total.ordinary_cer == UNKNOWN


def test_without_jiwer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.scores.ordered_text.find_spec", lambda _: None)
    assert count_ordinary_errors(truth("one"), [line("one")]) is None
