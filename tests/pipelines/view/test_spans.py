"""A text is cut at its spans, and nothing of it is lost."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.view.page import MAX_TEXT, Piece, make_text
from pipelines.view.spans import Span, cut_text


def test_spans_and_what_is_between() -> None:
    pieces = cut_text("a dog and a cat", [Span(2, 5, (0,)), Span(12, 15, (1, 2), "contradicted", "thing: no cat")])
    assert pieces == (
        Piece("a "),
        Piece("dog", (0,)),
        Piece(" and a "),
        Piece("cat", (1, 2), "contradicted", "thing: no cat"),
    )


def test_overlapping_spans() -> None:
    assert cut_text("hot dog", [Span(0, 7, (0,)), Span(4, 7, (1,), "supported")]) == (
        Piece("hot ", (0,)),
        Piece("dog", (0, 1), "supported"),
    )


def test_spans_outside_of_the_text_are_passed_over() -> None:
    assert cut_text("dog", [Span(-1, 2, (0,)), Span(2, 9, (1,)), Span(2, 2, (2,)), Span(3, 1, (3,))]) == (Piece("dog"),)
    assert cut_text("", [Span(0, 1, (0,))]) == ()


def test_a_long_text_is_cut() -> None:
    text = "a" * MAX_TEXT + "bcd"
    assert cut_text(text, [Span(0, 1, (0,)), Span(MAX_TEXT, MAX_TEXT + 1, (1,))]) == (
        Piece("a", (0,)),
        Piece("a" * (MAX_TEXT - 1)),
        Piece(" [3 more characters]"),
    )
    assert make_text("", text).pieces == (Piece("a" * MAX_TEXT), Piece(" [3 more characters]"))


@given(st.text(max_size=30), st.lists(st.tuples(st.integers(-2, 32), st.integers(-2, 32)), max_size=6))
def test_no_character_is_lost(text: str, places: list[tuple[int, int]]) -> None:
    pieces = cut_text(text, [Span(start, end, (number,)) for number, (start, end) in enumerate(places)])
    assert "".join(piece.text for piece in pieces) == text
