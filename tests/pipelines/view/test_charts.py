"""Charts are plain SVG or bars, of any numbers and names."""

import math
import xml.etree.ElementTree as ET

import pytest

from curation.scores.bootstrap import Estimate
from pipelines.view.charts import (
    HEIGHT,
    MAX_BARS,
    MAX_NAME,
    MAX_POINTS,
    WIDTH,
    draw_bars,
    draw_counts,
    draw_estimates,
    draw_histogram,
    draw_lines,
    draw_shares,
)
from pipelines.view.page import Bars, Drawing, Interval, Intervals

SVG = "{http://www.w3.org/2000/svg}"


def read_drawing(drawing: object) -> ET.Element:
    assert isinstance(drawing, Drawing)
    svg = ET.fromstring(drawing.svg)
    assert svg.get("viewBox") == f"0 0 {WIDTH} {HEIGHT}"
    assert svg.get("width") is None
    return svg


def read_heights(drawing: object) -> list[float]:
    """The heights of the columns, as parts of the highest."""
    (group,) = [one for one in read_drawing(drawing).iter(f"{SVG}g") if one.get("class") == "series columns"]
    heights = [float(one.get("height", "")) for one in group]
    return [round(height / (max(heights) or 1), 3) for height in heights]


def test_bars_of_counts() -> None:
    assert draw_bars("t", {}) == draw_bars("t", {"a": 0}) == []
    (bars,) = draw_bars("t", {"b": 1, "a": 1, "c": 4, "none": 0})
    assert bars == Bars("t", (("c", 1.0, "4"), ("a", 0.25, "1"), ("b", 0.25, "1")))
    (bars,) = draw_bars("t", {f"{number:02d}": 1000 - number for number in range(MAX_BARS + 3)})
    assert isinstance(bars, Bars)
    assert bars.rows[-1] == ("3 others", 0.0, "2,961")
    assert len(bars.rows) == MAX_BARS + 1


def test_shares_as_asked_and_as_got() -> None:
    assert draw_shares("t", [("ocr", 0.25, 0.2)]).rows == (("ocr, asked", 0.25, "25.0%"), ("ocr, got", 0.2, "20.0%"))


def test_histogram() -> None:
    drawing = draw_histogram("t", [0.05, 0.95, 1.0, 0.31, -3.0, None, math.nan], 0, 1)
    assert read_heights(drawing) == [1.0, 0, 0, 0.5, 0, 0, 0, 0, 0, 1.0]
    assert drawing.note == "5 values; each column begins at its label"


@pytest.mark.parametrize(
    ("values", "heights", "note"),
    [
        ([0, 0, 1, 3, None], [1.0, 0.5, 0.0, 0.5], "4 values, mean 1.0"),
        ([0, 99], [1.0, *[0.0] * 8, 1.0], "2 values, mean 49.5"),
        ([5, 2000], [1.0, *[0.0] * 8, 1.0], "2 values, mean 1,002.5"),
    ],
)
def test_counts(values: list[int | None], heights: list[float], note: str) -> None:
    (drawing,) = draw_counts("t", values)
    assert isinstance(drawing, Drawing)
    assert drawing.note == note
    assert read_heights(drawing) == heights


def test_counts_that_are_all_equal_need_no_chart() -> None:
    assert draw_counts("t", []) == draw_counts("t", [640, 640, None]) == []


def test_lines() -> None:
    assert draw_lines("t", {}) == draw_lines("t", {"a": [(1, math.nan)]}) == []
    points = [(step, 1 / step) for step in range(1, 5000)]
    (drawing,) = draw_lines("t", {"<b>ocr</b>": points, "other": [(1, 2.0), (2, math.inf)]})
    svg = read_drawing(drawing)
    paths = [one.get("d", "") for one in svg.iter(f"{SVG}path")]
    assert len(paths) == 2
    assert MAX_POINTS / 2 < paths[0].count("L") <= MAX_POINTS
    assert "<b>ocr</b>" in [one.text for one in svg.iter(f"{SVG}text")]


def test_names_of_lines_are_written_out_and_cut() -> None:
    (drawing,) = draw_lines("t", {"\ud800\x1b\u202eocr": [(1, 2.0)], "o" * 500: [(1, 3.0)]})
    texts = [one.text for one in read_drawing(drawing).iter(f"{SVG}text")]
    assert {r"\ud800\x1b\u202eocr", "o" * MAX_NAME} <= set(texts)
    assert isinstance(drawing, Drawing)
    assert drawing.svg.encode()


@pytest.mark.parametrize("values", [[(1, 2.0)], [(1, 2.0), (9, 2.0)], [(0, 0.0)], [(1, 1e-12), (2, 1e15)], [(1, -3)]])
def test_lines_of_odd_numbers(values: list[tuple[float, float]]) -> None:
    read_drawing(draw_lines("t", {"a": values})[0])


def test_figures_with_their_intervals() -> None:
    assert draw_estimates("t", {}) == draw_estimates("t", {"a": Estimate(None), "b": Estimate(math.nan)}) == []
    figures = {"acc": Estimate(0.5, 0.25, 0.75), "alone": Estimate(0.125), "none": Estimate(None)}
    assert draw_estimates("t", figures, "n") == [
        Intervals(
            "t",
            (
                Interval("acc", 0.5, 0.25, 0.75, "50.0% [25.0, 75.0]"),
                Interval("alone", 0.125, 0.125, 0.125, "12.5%"),
            ),
            "n",
        )
    ]


def test_figures_over_one_stretch_the_scale() -> None:
    (chart,) = draw_estimates("t", {"cider": Estimate(1.0, 0.5, 2.0), "other": Estimate(0.5, 0.5, 0.5)})
    assert isinstance(chart, Intervals)
    assert [(row.value, row.low, row.high) for row in chart.rows] == [(0.5, 0.25, 1.0), (0.25, 0.25, 0.25)]
    assert chart.rows[0].shown == "100.0% [50.0, 200.0]"
