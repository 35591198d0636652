"""Counts worked out by hand, and laws that hold for all texts."""

import math

from hypothesis import given
from hypothesis import strategies as st

from curation.scores.bootstrap import Estimate
from curation.scores.text import (
    ErrorCounts,
    count_asserted_errors,
    count_ordered_errors,
    count_page_errors,
    count_picture_errors,
    drop_ignored_lines,
    score_texts,
)
from schemas.records.box import Box
from schemas.records.ground_truth import TextTruth
from schemas.records.text_line import TextLine

TEXTS = st.lists(st.text("ab c", max_size=8), max_size=5)


def test_perfect_in_any_order_and_cut() -> None:
    assert count_page_errors(["fresh coffee", "open 24h"], ["open", "coffee 24h fresh"]) == ErrorCounts(18, 0, 4, 0)


def test_a_wrong_letter_a_missed_word_and_an_invented_one() -> None:
    assert count_page_errors(["OPEN DAILY"], ["0PEN DAILY"]) == ErrorCounts(9, 1, 2, 1)
    assert count_page_errors(["OPEN DAILY"], ["OPEN"]) == ErrorCounts(9, 5, 2, 1)
    assert count_page_errors(["OPEN DAILY"], ["OPEN DAILY xyz"]) == ErrorCounts(9, 3, 2, 1)
    assert count_page_errors(["a b"], ["c d e"]) == ErrorCounts(2, 3, 2, 3)


def test_repeated_words_are_counted() -> None:
    assert count_page_errors(["no no no"], ["no no"]) == ErrorCounts(6, 2, 3, 1)


def test_most_alike_words_are_paired() -> None:
    assert count_page_errors(["invoice total"], ["totol invoise"]) == ErrorCounts(12, 2, 2, 2)


def test_case_and_spaces() -> None:
    assert count_page_errors(["Straße"], ["STRASSE"], ignore_case=True).character_errors == 0
    assert count_page_errors(["Total"], ["TOTAL"]) == ErrorCounts(5, 4, 1, 1)
    assert count_page_errors(["KOREANRESTAURANT"], ["KOREAN RESTAURANT"], spaces=False) == ErrorCounts(16, 0, 1, 0)
    assert count_page_errors(["KOREANRESTAURANT"], ["KOREAN RESTAURANT"]).word_errors == 2


def test_one_unicode_form() -> None:
    assert count_page_errors(["caf\u00e9"], ["cafe\u0301"]) == ErrorCounts(4, 0, 1, 0)


def test_a_line_in_the_wrong_place_costs_its_length_twice() -> None:
    assert count_ordered_errors(["one line", "two"], ["one", "line  two"]) == ErrorCounts(10, 0, 3, 0)
    assert count_ordered_errors(["abcdefgh", "xyz"], ["xyz", "abcdefgh"]) == ErrorCounts(11, 6, 2, 2)
    assert count_ordered_errors(["Total 1"], ["TOTAL1"], ignore_case=True, spaces=False) == ErrorCounts(6, 0, 1, 0)
    assert count_ordered_errors(["Total 1"], ["TOTAL1"]) == ErrorCounts(6, 4, 2, 2)


def test_asserted_line_is_found_within_more() -> None:
    found = ["SALE", "FRESH COFFEE TODAY", "page 3"]
    assert count_asserted_errors(["fresh coffee"], found, ignore_case=True) == ErrorCounts(11, 0, 2, 0)
    assert count_asserted_errors(["FRASH COFFE"], found) == ErrorCounts(10, 1, 2, 2)
    assert count_asserted_errors(["FRESH", "gone"], []) == ErrorCounts(9, 9, 2, 2)


def test_counts_add_up_to_a_rate_of_sums() -> None:
    total = ErrorCounts(100, 10, 20, 4) + ErrorCounts(300, 0, 60, 0)
    assert (total.cer, total.wer) == (0.025, 0.05)
    assert math.isnan(ErrorCounts().cer)
    assert math.isnan(ErrorCounts().wer)


def test_lines_over_ignored_boxes_are_left_out() -> None:
    kept = TextLine("kept", (0.0,) * 8, (0.0, 0.0, 0.2, 0.2), 1.0)
    hidden = TextLine("hidden", (0.0,) * 8, (0.5, 0.5, 0.7, 0.7), 1.0)
    assert drop_ignored_lines([kept, hidden], [(0.55, 0.55, 0.9, 0.9)]) == [kept]


@given(TEXTS)
def test_a_text_equals_itself_in_any_order(lines: list[str]) -> None:
    counts = count_page_errors(lines, reversed(lines))
    assert (counts.character_errors, counts.word_errors) == (0, 0)


@given(TEXTS)
def test_an_empty_reading_misses_everything(lines: list[str]) -> None:
    counts = count_page_errors(lines, [])
    assert (counts.character_errors, counts.word_errors) == (counts.characters, counts.words)


@given(TEXTS, TEXTS)
def test_errors_never_exceed_both_texts(truth: list[str], found: list[str]) -> None:
    counts, other = count_page_errors(truth, found), count_page_errors(found, truth)
    assert counts.word_errors == other.word_errors <= max(counts.words, other.words)
    assert counts.character_errors <= counts.characters + other.characters
    assert count_asserted_errors(truth, found).character_errors <= counts.characters


def truth_of(*items: dict[str, object], file: str = "x", complete: bool = True, **values: object) -> TextTruth:
    picture = {"file": file, "width": 100, "height": 100, "items": items, "complete": complete}
    return TextTruth.model_validate(picture | values, strict=False)


def read(text: str, box: Box = (0.0, 0.0, 1.0, 1.0)) -> TextLine:
    return TextLine(text, (0.0,) * 8, box, 1.0)


def test_a_picture_is_compared_as_its_truth_allows() -> None:
    item = {"text": "Open"}
    assert count_picture_errors(truth_of(item), [read("Open"), read("x")]) == ErrorCounts(4, 1, 1, 1)
    assert count_picture_errors(truth_of(item, complete=False), [read("Open"), read("x")]) == ErrorCounts(4, 0, 1, 0)
    assert count_picture_errors(truth_of(item, case_insensitive=True), [read("OPEN")]) == ErrorCounts(4, 0, 1, 0)
    sroie = truth_of({"text": "OPEN"}, file="ocr/ICDAR-2019-SROIE__1.jpg")
    assert count_picture_errors(sroie, [read("Open")]) == ErrorCounts(4, 0, 1, 0)
    receipt = truth_of({"text": "OPENDAILY"}, file="ocr/mmocr__1.jpeg")
    assert count_picture_errors(receipt, [read("OPEN DAILY")]) == ErrorCounts(9, 0, 1, 0)
    assert count_picture_errors(truth_of(), [read("ghost")]) == ErrorCounts(0, 5, 0, 1)


def test_illegible_text_is_neither_looked_for_nor_held_against_the_reader() -> None:
    items = {"text": "Open"}, {"text": "###", "bbox": [50, 50, 60, 60], "ignore": True}
    lines = [read("Open", (0.0, 0.0, 0.4, 0.4)), read("whatever", (0.5, 0.5, 0.6, 0.6))]
    assert count_picture_errors(truth_of(*items), lines) == ErrorCounts(4, 0, 1, 0)


def test_places_of_text() -> None:
    boxes = [0, 0, 10, 10], [20, 0, 30, 10], [80, 80, 90, 90]
    items = [{"text": None, "bbox": box} for box in boxes]
    items.append({"text": None, "bbox": [50, 50, 60, 60], "ignore": True})
    lines = [read("one line over two words", (0.0, 0.0, 0.3, 0.1)), read("ignored", (0.5, 0.5, 0.6, 0.6))]
    assert count_picture_errors(truth_of(*items, boxes_only=True), lines) == ErrorCounts(places=3, places_found=2)


def test_rates_of_collections_are_those_of_sums() -> None:
    scores = score_texts([("b", ErrorCounts(100, 10, 20, 4)), ("a", ErrorCounts(300, 0, 60, 0)), ("b", ErrorCounts())])
    assert [(score.source, score.images) for score in scores.sources] == [("a", 1), ("b", 2)]
    one, two = scores.sources
    assert (one.cer, one.wer, one.places_found) == (Estimate(0.0), Estimate(0.0), Estimate(None))
    assert (two.cer, two.wer) == (Estimate(0.1, 0.1, 0.1), Estimate(0.2, 0.2, 0.2))
    assert (scores.total.cer.value, scores.total.wer.value) == (0.025, 0.05)
    assert (scores.total.cer.low, scores.total.cer.high) == (0.0, 0.1)
    assert scores.total.counts == ErrorCounts(400, 10, 80, 4)
    assert score_texts([]).total.cer == Estimate(None)
