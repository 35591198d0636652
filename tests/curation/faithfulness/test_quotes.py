"""Quotations are found in the marks of several scripts, and count as visible text only where the caption says so."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.faithfulness.quotes import find_quotes


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ('A sign reads "STOP".', ["STOP"]),
        ("A sign that says 'Don't walk' in red", ["Don't walk"]),
        ("The dogs' bowl, the '90s and the '80s", []),
        ("The words “GRAND ‘old’ HOTEL” and ‘Isn’t it’", ["GRAND ‘old’ HOTEL", "Isn’t it"]),
        ("„Eingang“ und »Ausgang« und „Notausgang”", ["Eingang", "Ausgang", "Notausgang"]),
        ("une pancarte «Sortie» et ‹Entrée›", ["Sortie", "Entrée"]),
        ("skylten ”Utgång” syns", ["Utgång"]),
        ("写着「出口」和『入口』的牌子", ["出口", "入口"]),
        ('a 5" x 7" photo with the text "LOVE"', ["LOVE"]),
        ('an open mark " alone', []),
    ],
)
def test_marks(caption: str, expected: list[str]) -> None:
    found = find_quotes(caption)
    assert [quote.text for quote in found] == expected
    assert [caption[quote.start + 1 : quote.end - 1] for quote in found] == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ('A sign reads "STOP".', [True]),
        ('A "STOP" sign.', [True]),
        ('"SALE" is written on it, and below "50% off" too', [True, True]),
        ('A sign. The so-called "golden hour".', [False]),
        ('A painting titled "The Sign".', [False]),
        ('The text on the cover of the novel "Emma"', [False]),
        ('"A sign" of the times', [False]),  # a quotation's own words are no cue
        ('There is no sign that says "OPEN".', [False]),  # true where nothing does
        ('"OPEN" is not written anywhere, and the door doesn\'t read "SHUT"', [False, False]),
        ('It has no roof, and a sign reads "OPEN" and not "SHUT"', [True, False]),
        ("Ein Schild mit der Aufschrift „Eingang“", [True]),
        ("「禁煙」と書かれた看板", [True]),
        ("Вывеска с надписью «Хлеб»", [True]),
        ("Табличка, на ней написано «Хлеб»", [True]),
    ],
)
def test_visible_text(caption: str, expected: list[bool]) -> None:
    assert [quote.is_visible_text for quote in find_quotes(caption)] == expected


@given(st.text(alphabet="ab 1\"'“”„«»‘’「」.\n", max_size=40))
def test_any_text_has_quotations_in_order_and_apart(caption: str) -> None:
    spans = [(quote.start, quote.end) for quote in find_quotes(caption)]
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
