"""Orders lines of text by columns: a recursive XY-cut (Nagy and Seth, 1984) over the lines' boxes.

An XY-cut divides a page at straight gaps, across and down, and reads the parts one after the other. Here it cuts at a
gutter, the gap between two columns of prose, which ends where a line such as a headline runs across it. A cut yields
five parts: what is above, the columns to the left and to the right, what stands in the gutter between them (a caption),
and what is below. Each part is cut again. A part without a gutter is read row by row.

Gaps in tables, receipts and lists look like gutters. Prose differs from those: its lines are long for their height, one
is as long as the next, and they are close together. Only places count, never the text, and all limits are ratios, so
the order depends neither on where the page lies in the picture nor on its resolution.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ReadingOrder = Literal["columns", "lines"]
"""How lines are ordered: columns one after the other, or rows across the whole picture."""

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

MAX_SKEW = 10.0  # degrees; text at a greater angle is no skewed page, and is read as it lies
MIN_SKEWED_LINES = 8  # fewer are a sign, whose lines differ in angle because it is seen from the side
MIN_ROW_SKEW = 1.0  # a smaller one moves gutters, but rows by less than a detector's error

# Lengths in heights of a line's box. Detectors pad boxes: on two scanned magazine pages, the boxes of neighbouring
# columns touch although the gutter is as wide as a letter is high.
INSET = 0.35  # the padding of each end of a line, and the error of its place
MIN_GUTTER = 0.3  # without the padding
MIN_LENGTH = 5.5  # of prose, about fifteen letters; a narrow column of a newspaper has 9, a price 2 to 4
MAX_PITCH = 1.5  # from line to line; prose has 0.8 to 1.4 (one-and-a-half spacing), the rows of most tables 2

MIN_LINES = 3  # on each side of a gutter
FULL_LENGTH = 0.85  # of a full line of prose, in lengths of the second longest of the five lines around it
MAX_SHORT_LINES = 0.3  # share of the lines of two columns that are not full, since they end a paragraph
MIN_BESIDE = 0.5  # share of the lower side's height that is beside the other side


@dataclass(frozen=True, slots=True)
class _Part:
    """Holds what is known of each line of a part of the page."""

    starts: Floats  # left ends, without padding
    ends: Floats  # right ends, without padding
    middles: Floats  # half way from top to bottom
    heights: Floats
    before: Floats  # right end of the nearest line to the left in the same row; -inf without one
    after: Floats  # left end of the nearest line to the right in the same row; inf without one
    is_merged: Mask  # whether the detector seems to have taken two lines of neighbouring columns for one


@dataclass(frozen=True, slots=True)
class _Gutter:
    """Holds a gap between lines: its left edge, and the lines on both sides and in it."""

    edge: float
    left: Mask
    right: Mask
    inside: Mask

    @property
    def rank(self) -> int:
        """Returns the number of lines beside it less those in it: the first cut is made at the highest rank."""
        return int(self.left.sum() + self.right.sum() - self.inside.sum())


def order_by_columns(polygons: Floats) -> list[int]:
    """Returns the indices of the lines in reading order, from left to right and from top to bottom.

    `polygons` are lines x 4 x 2, clockwise from the text's top left, in units that are equal across and down, such as
    pixels. The order in which they are given decides only between equal ones.
    """
    polygons = np.asarray(polygons, np.float64).reshape(-1, 4, 2)
    given = np.lexsort(polygons.reshape(-1, 8).T)
    angle = _measure_skew(polygons[given])
    boxes = _compute_boxes(polygons[given], angle)
    rows = boxes if abs(angle) >= MIN_ROW_SKEW else _compute_boxes(polygons[given], 0.0)
    order: list[int] = []
    waiting = [np.arange(len(boxes))]
    while waiting:
        part = waiting.pop()
        cut = _find_cut(boxes[part])
        if cut is None:
            order += part[order_by_rows(rows[part])].tolist()
        else:
            waiting += [part[piece] for piece in reversed(cut) if piece.any()]
    return [int(given[at]) for at in order]


def order_by_rows(boxes: Floats) -> list[int]:
    """Returns the indices of lines in rows from top to bottom, each from left to right.

    `boxes` are lines x (x1, y1, x2, y2). A line belongs to the row above it if its centre is at most half a height (of
    the lower of the two) below the centre of that row's topmost line. Equal boxes keep the order of the input.
    """
    rows: list[list[int]] = []
    for at in np.lexsort((*boxes.T[::-1], boxes[:, 1] + boxes[:, 3])).tolist():
        if rows and _is_in_row(boxes[at], boxes[rows[-1][0]]):
            rows[-1].append(at)
        else:
            rows.append([at])
    return [at for row in rows for at in sorted(row, key=lambda at: tuple(boxes[at]))]


def _is_in_row(box: Floats, first: Floats) -> bool:
    distance = (box[1] + box[3] - first[1] - first[3]) / 2
    return bool(distance <= min(box[3] - box[1], first[3] - first[1]) / 2)


def _measure_skew(polygons: Floats) -> float:
    """Returns the median angle of the long lines in degrees clockwise; 0 if it is large, or if they are few."""
    along = polygons[:, 1] + polygons[:, 2] - polygons[:, 0] - polygons[:, 3]
    across = polygons[:, 3] + polygons[:, 2] - polygons[:, 0] - polygons[:, 1]
    is_long = np.hypot(*along.T) > 3 * np.hypot(*across.T)
    angles = np.degrees(np.arctan2(along[is_long, 1], along[is_long, 0]))
    angle = float(np.median(angles)) if len(angles) >= MIN_SKEWED_LINES else 0.0
    return angle if abs(angle) <= MAX_SKEW else 0.0


def _compute_boxes(polygons: Floats, skew: float) -> Floats:
    """Returns x1, y1, x2, y2 of each line on the page turned back by `skew` degrees."""
    cosine, sine = np.cos(np.radians(skew)), np.sin(np.radians(skew))
    level = polygons @ np.array([[cosine, -sine], [sine, cosine]])
    return np.concatenate([level.min(axis=1), level.max(axis=1)], axis=1)


def _find_cut(boxes: Floats) -> tuple[Mask, ...] | None:
    """Returns the five parts that a gutter cuts the lines into, in reading order; None without a gutter."""
    if len(boxes) < 2 * MIN_LINES:
        return None
    part = _measure(boxes)
    best: _Gutter | None = None
    for gutter in _iterate_gaps(part):
        if (best is None or gutter.rank > best.rank) and _is_between_columns(part, gutter):
            best = gutter
    if best is None:
        return None
    beside = best.left | best.right | best.inside
    above = ~beside & (part.middles < part.middles[beside].min())
    return above, best.left, best.right, best.inside, ~(above | beside)


def _measure(boxes: Floats) -> _Part:
    """Returns what the search for gutters needs to know of lines with these boxes, in quadratic time and memory."""
    x1, y1, x2, y2 = boxes.T
    heights, middles = y2 - y1, (y1 + y2) / 2
    inset = np.minimum(INSET * heights, (x2 - x1) / 4)
    starts, ends = x1 + inset, x2 - inset
    in_row = np.minimum.outer(y2, y2) - np.maximum.outer(y1, y1) > np.minimum.outer(heights, heights) / 2
    follows = in_row & (starts >= ends[:, None])  # [i, j]: j is to the right of i
    after = np.where(follows, starts, np.inf).min(axis=1)
    before = np.where(follows.T, ends, -np.inf).max(axis=1)

    is_over = (starts < ends[:, None]) & (ends > starts[:, None])  # [i, j]: j is over or under i
    down = np.where(is_over & ~in_row, middles - middles[:, None], np.nan)
    nearest = np.where(down > 0, down, np.inf).min(axis=1)
    pitch = np.median(nearest[np.isfinite(nearest)]) if np.isfinite(nearest).any() else 0.0
    is_next = np.abs(down) <= 1.5 * pitch
    is_merged = heights <= 1.3 * np.median(heights)
    for is_near in (is_next & (down < 0), is_next & (down > 0)):
        first = np.where(is_near, starts, np.inf).min(axis=1)
        is_merged &= (is_near.sum(axis=1) > 1) & (np.abs(starts - first) <= 2 * heights)
    return _Part(starts, ends, middles, heights, before, after, is_merged)


def _iterate_gaps(part: _Part) -> Iterator[_Gutter]:
    """Yields gaps with enough lines on both sides, from left to right and from top to bottom.

    A line that crosses a gap ends it, unless it is merged, or stands in the gap: with lines to its left and right, and
    rows above and below.
    """
    width = MIN_GUTTER * float(np.median(part.heights))
    is_enclosed = np.isfinite(part.before) & np.isfinite(part.after)
    is_enclosed &= part.middles - part.heights > part.middles.min()
    is_enclosed &= part.middles + part.heights < part.middles.max()
    for edge in np.unique(part.ends):
        left, right = part.ends <= edge, part.starts >= edge + width
        crossing = ~left & ~right
        left |= crossing & part.is_merged
        ends_gap = crossing & ~part.is_merged & ~is_enclosed
        bounds = np.sort(part.middles[ends_gap])
        run = np.searchsorted(bounds, part.middles)
        run[ends_gap] = len(bounds) + 1
        counts = np.minimum(*(np.bincount(run[side], minlength=len(bounds) + 1) for side in (left, right)))
        for number in np.flatnonzero(counts >= MIN_LINES):
            beside = run == number
            yield _Gutter(float(edge), left & beside, right & beside, beside & ~left & ~right)


def _is_between_columns(part: _Part, gutter: _Gutter) -> bool:
    """Says whether there is prose on both sides of a gap, the one beside the other."""
    left, right = part.middles[gutter.left], part.middles[gutter.right]
    shared = min(left.max(), right.max()) - max(left.min(), right.min())
    if shared < MIN_BESIDE * min(np.ptp(left), np.ptp(right)):
        return False
    columns = (gutter.left & (part.after > gutter.edge), gutter.right & (part.before <= gutter.edge))
    if not all(_is_long_and_close(part, column) for column in columns):
        return False
    is_short = np.concatenate([_find_short_lines(part, column) for column in columns])
    return bool(is_short.mean() <= MAX_SHORT_LINES)


def _is_long_and_close(part: _Part, column: Mask) -> bool:
    """Says whether lines, one in a row, are as long and as close together as those of a column of prose."""
    if column.sum() < MIN_LINES:
        return False
    lengths, height = (part.ends - part.starts)[column], np.median(part.heights[column])
    pitches = np.diff(np.sort(part.middles[column]))
    return bool(np.median(lengths) >= MIN_LENGTH * height and np.median(pitches) <= MAX_PITCH * height)


def _find_short_lines(part: _Part, column: Mask) -> Mask:
    """Says of each line of a column whether it is shorter than the lines around it."""
    down = np.argsort(part.middles[column], kind="stable")
    lengths = (part.ends - part.starts)[column][down]
    around = np.lib.stride_tricks.sliding_window_view(np.pad(lengths, 2), 5)
    return np.asarray(lengths < FULL_LENGTH * np.sort(around)[:, -2])
