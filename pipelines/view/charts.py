"""Draws charts: SVG by leather, with colours that the page's style replaces in the dark, and bars of named counts."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import leather
from leather import theme

from curation.scores.bootstrap import Estimate
from pipelines.view.page import Bars, Chart, Drawing, Interval, Intervals
from schemas.terminal import escape_controls

WIDTH, HEIGHT = 420, 220  # units of a drawing, about as many pixels on the narrowest screen
MAX_BARS = 12  # of a chart of names; the others are counted together
BINS = 10
MAX_NAME = 60  # characters of a line's name in the legend
MAX_POINTS = 300  # of a line: more than a drawing has pixels for
COLOURS = ("#3a86c8", "#e08e2b", "#2a9d6c", "#c2568f", "#8a6fd1", "#7a7f87")  # read well on white and on black

theme.background_color = "none"
theme.margin = 0.02
theme.tick_font_size = theme.legend_font_size = 11
theme.tick_font_char_width = theme.legend_font_char_width = 7
theme.tick_font_char_height = theme.legend_font_char_height = 11
theme.tick_font_family = theme.legend_font_family = "inherit"
theme.default_series_colors = list(COLOURS)


def draw_bars(title: str, counts: Mapping[str, int], note: str = "") -> list[Chart]:
    """Returns a chart of the most frequent names, or nothing without any."""
    known = {name: count for name, count in counts.items() if count > 0}
    if not known:
        return []
    order = sorted(known, key=lambda name: (-known[name], name))
    shown = [(name, known[name]) for name in order[:MAX_BARS]]
    most = max(known.values())
    rows = [(name, count / most, f"{count:,}") for name, count in shown]
    if rest := order[MAX_BARS:]:  # without a bar, which would outgrow those of the names
        rows.append((f"{len(rest):,} others", 0.0, f"{sum(known[name] for name in rest):,}"))
    return [Bars(title, tuple(rows), note)]


def draw_shares(title: str, shares: Sequence[tuple[str, float, float]], note: str = "") -> Bars:
    """Returns a chart of shares from 0 to 1: name, as asked, as got."""
    rows = []
    for name, asked, got in shares:
        rows += [(f"{name}, asked", asked, f"{asked:.1%}"), (f"{name}, got", got, f"{got:.1%}")]
    return Bars(title, tuple(rows), note)


def draw_estimates(title: str, figures: Mapping[str, Estimate], note: str = "") -> list[Chart]:
    """Returns a chart of measured figures with their intervals, to one scale; nothing without a value.

    Figures are shown in %. Where one is over 100 %, it is the end of the scale for all.
    """
    known = {name: one for name, one in figures.items() if one.value is not None and math.isfinite(one.value)}
    ends = [end for one in known.values() for end in (one.value, one.high) if end is not None]
    most = max([1.0, *ends])
    rows = tuple(_make_interval(name, one, most) for name, one in known.items())
    return [Intervals(title, rows, note)] if rows else []


def _make_interval(name: str, figure: Estimate, most: float) -> Interval:
    value = figure.value or 0.0
    low, high = (value if end is None else end for end in (figure.low, figure.high))
    shown = f"{value:.1%}" if figure.low is None else f"{value:.1%} [{100 * low:.1f}, {100 * high:.1f}]"
    place, first, last = (min(1.0, max(0.0, end / most)) for end in (value, low, high))
    return Interval(name, place, first, last, shown)


def draw_histogram(title: str, values: Sequence[float | None], low: float, high: float) -> Drawing:
    """Returns how many values are in each of ten ranges between `low` and `high`; others count at the ends."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    counts = [0] * BINS
    for value in known:
        counts[min(BINS - 1, max(0, int((value - low) / (high - low) * BINS)))] += 1
    labels = [_format(low + (high - low) * number / BINS) for number in range(BINS)]
    return _draw_columns(title, labels, counts, f"{len(known):,} values; each column begins at its label")


def draw_counts(title: str, values: Sequence[int | None]) -> list[Chart]:
    """Returns how many values are in ranges of whole numbers between the extremes; nothing if all are equal."""
    known = [value for value in values if value is not None]
    if len(set(known)) < 2:
        return []
    low, high = min(known), max(known) + 1
    step = max(1, math.ceil((high - low) / BINS))
    starts = list(range(low, high, step))
    counts = [sum(start <= value < stop for value in known) for start, stop in pairwise([*starts, high + step])]
    note = f"{len(known):,} values, mean {sum(known) / len(known):,.1f}"
    return [_draw_columns(title, [_format(start) for start in starts], counts, note)]


def draw_lines(title: str, lines: Mapping[str, Sequence[tuple[float, float]]], note: str = "") -> list[Chart]:
    """Returns a chart of named lines, each a list of points; nothing without a finite point."""
    known = {name: _thin([(x, y) for x, y in points if math.isfinite(y)]) for name, points in lines.items()}
    known = {name: points for name, points in known.items() if points}
    if not known:
        return []
    chart = leather.Chart()
    for name, points in known.items():
        chart.add_line(points, name=escape_controls(name)[:MAX_NAME] if len(known) > 1 else None)
    return [Drawing(title, _to_svg(chart), note)]


def _draw_columns(title: str, labels: Sequence[str], counts: Sequence[int], note: str) -> Drawing:
    chart = leather.Chart()
    chart.add_columns(list(zip(labels, counts, strict=True)))
    return Drawing(title, _to_svg(chart), note)


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns at most `MAX_POINTS` of the points, evenly spaced, with the last."""
    step = math.ceil(len(points) / MAX_POINTS) or 1
    kept = points[::step]
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def _to_svg(chart: leather.Chart) -> str:
    """Returns a drawing that grows and shrinks with the page."""
    svg: str = chart.to_svg(width=WIDTH, height=HEIGHT)
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    return svg.replace(size, f'viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true"', 1)


def _format(value: float) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" if value < 10_000 else f"{value / 1000:,.0f}k"
