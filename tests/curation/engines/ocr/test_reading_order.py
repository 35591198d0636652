"""The order of lines, on layouts made by hand: each line has a name, and places are in pixels."""

import random
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curation.engines.ocr.reading_order import order_by_columns

Layout = dict[str, tuple[float, float, float, float]]  # x, y, width, height by name


def column(name: str, x: float, y: float, width: float, lines: int, pitch: float = 28, height: float = 24) -> Layout:
    """Lines of prose, named a0, a1 and so on; the second is short, as the end of a paragraph is."""
    return {f"{name}{n}": (x, y + n * pitch, width / 3 if n == 1 else width - n % 3 * 8, height) for n in range(lines)}


def corners(layout: Layout) -> NDArray[np.float64]:
    return np.array(
        [[[x, y], [x + w, y], [x + w, y + h], [x, y + h]] for x, y, w, h in layout.values()], np.float64
    ).reshape(-1, 4, 2)


def turned(polygons: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """The page turned clockwise about the picture's corner."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return polygons @ np.array([[cosine, sine], [-sine, cosine]])


def read(layout: Layout, degrees: float = 0.0) -> list[str]:
    """The names in reading order, whichever order the lines are given in."""
    names, polygons = list(layout), turned(corners(layout), degrees)
    found = [names[at] for at in order_by_columns(polygons)]
    for seed in range(5):
        shuffled = random.Random(seed).sample(range(len(names)), len(names))
        assert [names[shuffled[at]] for at in order_by_columns(polygons[shuffled])] == found
    return found


def names(*groups: tuple[str, int]) -> list[str]:
    return [f"{name}{n}" for name, many in groups for n in range(many)]


TWO = column("a", 40, 100, 300, 8) | column("b", 370, 106, 300, 7)
HEADLINE: Layout = {"headline": (60, 20, 900, 60)}
THREE = HEADLINE | column("a", 40, 100, 280, 6) | column("b", 350, 100, 280, 6) | column("c", 660, 100, 280, 5)
RECEIPT: Layout = {
    "shop": (120, 0, 240, 40),
    **{
        f"{n}{cell}": (x, 60 + 30 * n, w, 24)
        for n in range(6)
        for cell, x, w in (("item", 20, 200 - 30 * (n % 4)), ("price", 400, 70))
    },
    "thanks": (60, 260, 360, 24),
}
TABLE: Layout = {f"{n}{cell}": (x, 40 * n, 130, 24) for n in range(5) for cell, x in (("a", 0), ("b", 150), ("c", 300))}
WIDE_TABLE: Layout = {f"{n}{cell}": (x, 48 * n, 260, 24) for n in range(5) for cell, x in (("a", 0), ("b", 300))}
FORM: Layout = {
    f"{n}{cell}": (x, 34 * n, w, 24)
    for n, widths in enumerate([(180, 260), (290, 150), (120, 330), (260, 90)])
    for cell, x, w in zip(("key", "value"), (0, 340), widths, strict=True)
}


def test_columns_are_read_one_after_the_other() -> None:
    assert read(TWO) == names(("a", 8), ("b", 7))
    narrow = column("a", 0, 0, 180, 40) | column("b", 190, 0, 180, 40) | column("c", 380, 3, 180, 30)
    assert read(narrow) == names(("a", 40), ("b", 40), ("c", 30))


def test_boxes_of_columns_may_touch() -> None:
    """Detectors pad them."""
    assert read(column("a", 0, 0, 300, 6) | column("b", 300, 0, 300, 6)) == names(("a", 6), ("b", 6))


def test_a_headline_across_comes_first() -> None:
    assert read(THREE) == ["headline", *names(("a", 6), ("b", 6), ("c", 5))]


def test_a_line_across_two_of_three_columns_divides_only_those() -> None:
    page = column("a", 0, 0, 300, 5) | column("b", 330, 0, 300, 5) | {"across": (0, 160, 620, 50)}
    page |= column("c", 0, 230, 300, 5) | column("d", 330, 230, 300, 5) | column("e", 660, 0, 300, 13)
    assert read(page) == [*names(("a", 5), ("b", 5)), "across", *names(("c", 5), ("d", 5), ("e", 13))]


def test_text_above_and_below_columns() -> None:
    page = column("above", 0, 0, 640, 4) | column("a", 0, 140, 300, 5) | column("b", 330, 140, 300, 5)
    page |= column("below", 0, 300, 640, 4)
    assert read(page) == names(("above", 4), ("a", 5), ("b", 5), ("below", 4))


def test_a_caption_in_the_gutter_comes_after_the_columns_around_it() -> None:
    page = column("a", 0, 0, 300, 4) | column("b", 330, 0, 300, 4) | column("narrow", 0, 120, 200, 12)
    page |= {f"caption{n}": (220 + n * 20, 350 + 28 * n, 190 - n * 40, 24) for n in range(3)}
    page |= column("wrapped", 430, 120, 200, 12)
    page |= column("c", 0, 460, 300, 4) | column("d", 330, 460, 300, 4)
    left, right = (("a", 4), ("narrow", 12), ("c", 4)), (("b", 4), ("wrapped", 12), ("d", 4))
    assert read(page) == names(*left, *right, ("caption", 3))


def test_a_page_header_in_three_pieces_is_read_first() -> None:
    header: Layout = {"date": (0, 0, 100, 24), "name": (220, 0, 200, 24), "page": (530, 0, 100, 24)}
    page = header | column("a", 0, 60, 300, 5) | column("b", 330, 60, 300, 5)
    assert read(page) == ["date", "name", "page", *names(("a", 5), ("b", 5))]


def test_two_lines_that_were_detected_as_one_do_not_end_the_columns() -> None:
    page = column("a", 0, 0, 300, 12) | column("b", 330, 0, 300, 12)
    page["a6"] = (0, page["a6"][1], 630, 24)
    del page["b6"]
    assert read(page) == [*names(("a", 12), ("b", 6)), *(f"b{n}" for n in range(7, 12))]


@pytest.mark.parametrize("layout", [RECEIPT, TABLE, WIDE_TABLE, FORM])
def test_rows_stay_rows(layout: Layout) -> None:
    assert read(layout) == list(layout)


def test_columns_of_fewer_lines_than_three_stay_rows() -> None:
    assert read(column("a", 0, 0, 300, 2) | column("b", 330, 0, 300, 2)) == ["a0", "b0", "a1", "b1"]


def test_blocks_that_are_not_side_by_side_are_read_from_top_to_bottom() -> None:
    """As the sender and the addressee of a letter."""
    assert read(column("a", 0, 200, 300, 4) | column("b", 330, 0, 300, 4)) == names(("b", 4), ("a", 4))


@pytest.mark.parametrize("degrees", [-4.0, -1.0, 0.5, 3.0])
def test_a_skewed_page_is_read_as_a_level_one(degrees: float) -> None:
    for layout in (TWO, THREE, RECEIPT, TABLE):
        assert read(layout, degrees) == read(layout)


def test_few_lines() -> None:
    assert order_by_columns(np.zeros((0, 4, 2))) == []
    assert read({"one": (5, 5, 100, 20)}) == ["one"]
    assert read({"below": (5, 50, 100, 20), "above": (9, 5, 100, 20)}) == ["above", "below"]


LINES = st.tuples(st.integers(0, 900), st.integers(0, 900), st.integers(1, 400), st.integers(1, 60))
COLUMNS = st.builds(
    lambda x, y, many, width: [(x, y + 25 * n, width, 24) for n in range(many)],
    *(st.integers(0, 600), st.integers(0, 300), st.integers(1, 9), st.integers(30, 300)),
)
PAGES = st.tuples(st.lists(COLUMNS, max_size=5), st.lists(LINES, max_size=12)).map(
    lambda parts: corners({str(n): line for n, line in enumerate([*chain.from_iterable(parts[0]), *parts[1]])})
)


@given(PAGES, st.randoms(use_true_random=False), st.integers(-9, 9), st.integers(0, 500), st.sampled_from([0.25, 1, 8]))
def test_the_order_depends_on_the_layout_alone(
    page: NDArray[np.float64], chance: random.Random, degrees: int, shift: int, scale: float
) -> None:
    """It is a permutation, and the same for lines given in another order, elsewhere, and at another scale."""
    order = order_by_columns(page)
    assert sorted(order) == list(range(len(page)))
    moved = page * scale + [shift, 2 * shift]
    assert page[order_by_columns(moved)].tolist() == page[order].tolist()
    shuffled = page[chance.sample(range(len(page)), len(page))]
    assert shuffled[order_by_columns(shuffled)].tolist() == page[order].tolist()
    skewed = turned(page, degrees)
    assert sorted(order_by_columns(skewed)) == list(range(len(page)))
