"""Counts worked out by hand, and laws that hold for all texts."""

import math

from hypothesis import given
from hypothesis import strategies as st

from curation.text_error import ErrorCounts, asserted_errors, outside, page_errors
from schemas.text_line import TextLine

TEXTS = st.lists(st.text("ab c", max_size=8), max_size=5)


def test_perfect_in_any_order_and_cut() -> None:
    assert page_errors(["fresh coffee", "open 24h"], ["open", "coffee 24h fresh"]) == ErrorCounts(18, 0, 4, 0)


def test_a_wrong_letter_a_missed_word_and_an_invented_one() -> None:
    assert page_errors(["OPEN DAILY"], ["0PEN DAILY"]) == ErrorCounts(9, 1, 2, 1)
    assert page_errors(["OPEN DAILY"], ["OPEN"]) == ErrorCounts(9, 5, 2, 1)
    assert page_errors(["OPEN DAILY"], ["OPEN DAILY xyz"]) == ErrorCounts(9, 3, 2, 1)
    assert page_errors(["a b"], ["c d e"]) == ErrorCounts(2, 3, 2, 3)


def test_repeated_words_are_counted() -> None:
    assert page_errors(["no no no"], ["no no"]) == ErrorCounts(6, 2, 3, 1)


def test_most_alike_words_are_paired() -> None:
    assert page_errors(["invoice total"], ["totol invoise"]) == ErrorCounts(12, 2, 2, 2)


def test_case_and_spaces() -> None:
    assert page_errors(["Straße"], ["STRASSE"], ignore_case=True).character_errors == 0
    assert page_errors(["Total"], ["TOTAL"]) == ErrorCounts(5, 4, 1, 1)
    assert page_errors(["KOREANRESTAURANT"], ["KOREAN RESTAURANT"], spaces=False) == ErrorCounts(16, 0, 1, 0)
    assert page_errors(["KOREANRESTAURANT"], ["KOREAN RESTAURANT"]).word_errors == 2


def test_one_unicode_form() -> None:
    assert page_errors(["caf\u00e9"], ["cafe\u0301"]) == ErrorCounts(4, 0, 1, 0)


def test_asserted_line_is_found_within_more() -> None:
    found = ["SALE", "FRESH COFFEE TODAY", "page 3"]
    assert asserted_errors(["fresh coffee"], found, ignore_case=True) == ErrorCounts(11, 0, 2, 0)
    assert asserted_errors(["FRASH COFFE"], found) == ErrorCounts(10, 1, 2, 2)
    assert asserted_errors(["FRESH", "gone"], []) == ErrorCounts(9, 9, 2, 2)


def test_counts_add_up_to_a_rate_of_sums() -> None:
    total = ErrorCounts(100, 10, 20, 4) + ErrorCounts(300, 0, 60, 0)
    assert (total.cer, total.wer) == (0.025, 0.05)
    assert math.isnan(ErrorCounts().cer)
    assert math.isnan(ErrorCounts().wer)


def test_lines_over_ignored_boxes_are_left_out() -> None:
    kept = TextLine("kept", (0.0,) * 8, (0.0, 0.0, 0.2, 0.2), 1.0)
    hidden = TextLine("hidden", (0.0,) * 8, (0.5, 0.5, 0.7, 0.7), 1.0)
    assert outside([kept, hidden], [(0.55, 0.55, 0.9, 0.9)]) == [kept]


@given(TEXTS)
def test_a_text_equals_itself_in_any_order(lines: list[str]) -> None:
    counts = page_errors(lines, reversed(lines))
    assert (counts.character_errors, counts.word_errors) == (0, 0)


@given(TEXTS)
def test_an_empty_reading_misses_everything(lines: list[str]) -> None:
    counts = page_errors(lines, [])
    assert (counts.character_errors, counts.word_errors) == (counts.characters, counts.words)


@given(TEXTS, TEXTS)
def test_errors_never_exceed_both_texts(truth: list[str], found: list[str]) -> None:
    counts, other = page_errors(truth, found), page_errors(found, truth)
    assert counts.word_errors == other.word_errors <= max(counts.words, other.words)
    assert counts.character_errors <= counts.characters + other.characters
    assert asserted_errors(truth, found).character_errors <= counts.characters
