"""Defines what a comparison of a row with its ground truth has found."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.view.page import Shape

LAYER = "truth"  # of the shapes of a truth, beside those of the columns
FOUND, MISSED, NOT_ASKED = "found", "missed", "not asked for"
FALSE_ALARM = "false_alarm"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Holds the items of a truth with their outcomes, in its order, and the items of the row that it lacks."""

    names: tuple[str, ...]
    outcomes: tuple[str, ...]  # `FOUND`, `MISSED`, or `NOT_ASKED` for what may be found or not
    notes: tuple[str, ...]  # words that say more than the outcome, where there are any
    shapes: tuple[Shape, ...]  # not numbered yet
    drawn: tuple[int, ...]  # the item of each shape: a text may have no place
    false_alarms: Mapping[int, str]
    """A note by the position of the item in the row."""
