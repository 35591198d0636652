"""Shows progress, rate and time left: a bar on a terminal, elsewhere a line every ten seconds."""

import contextlib
import logging
import math
import sys
from types import TracebackType
from typing import Self

from rich.console import Console  # noqa: TID251  for a bar
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from schemas.activity import report_activity
from schemas.log import is_shown
from schemas.moving_rate import MovingRate
from schemas.terminal import escape_controls, format_duration


class Progress:
    """Shows the progress of work of a known size. `done` has the unit of `total`; `items` counts what the user sees.

    Rate and time left are those of the last minutes. What was done earlier and start-up do not count.
    """

    def __init__(self, title: str, total: int, unit: str = "images") -> None:
        self.title, self.total, self.unit = title, max(total, 1), unit
        self.done = self.items = 0
        self.doing = self.note = ""
        self._done_rate, self._item_rate = MovingRate(), MovingRate()
        self._stack = contextlib.ExitStack()
        self._bar: Bar | None = None
        if is_shown(logging.INFO) and sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}", markup=False))
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(title, total=self.total, text="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._stack.enter_context(self._bar)
        self._stack.enter_context(report_activity(lambda _: self.describe(), is_on_screen=self._bar is not None))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def restart_clock(self) -> None:
        """Starts the clock for rate and time left now, so that start-up does not count."""
        self._done_rate.restart(self.done)
        self._item_rate.restart(self.items)

    def advance(self, done: int) -> None:
        """Adds to `done` and updates the display."""
        self.done += done
        self.show()

    def reach(self, done: float) -> None:
        """Raises `done` to this, if that is more, and at most to `total`."""
        self.done = max(self.done, min(int(done), self.total))

    def skip(self, done: int) -> None:
        """Adds what an earlier run has done, which does not count for the rate."""
        self.done += done
        self._done_rate.skip(done)

    def show(self, items: int | None = None, doing: str = "", note: str = "") -> None:
        """Updates the display: `items` is their number so far, `doing` replaces the rate, `note` is added to it."""
        self.items = self.items if items is None else items
        self.doing, self.note = doing, note
        self._done_rate.record(self.done)
        self._item_rate.record(self.items)
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, text=escape_controls(self._describe_state()))

    def describe(self) -> str:
        """Returns the line of progress."""
        return f"{self.title}: {self._describe_state()}"

    def _describe_state(self) -> str:
        parts = [format_share(self.done / self.total)]
        if self.doing:
            parts.append(self.doing)
        else:
            parts.append(f"{self.items:,} {self.unit}")
            if self.items:
                parts.append(f"{self._item_rate.compute():.1f}/s")
            if (rate := self._done_rate.compute()) > 0:
                parts.append(f"{format_duration((self.total - self.done) / rate)} left")
        return ", ".join(parts) + (f"; {self.note}" if self.note else "")


def format_share(share: float) -> str:
    """Returns a share, 0 to 1, in percent, rounded down, with digits enough to tell a little from nothing."""
    percent = 100 * share
    if 0 < percent < 0.01:
        return "<0.01%"
    digits = 2 if 0 < percent < 1 else 1 if 1 <= percent < 10 else 0
    return f"{math.floor(percent * 10**digits) / 10**digits:.{digits}f}%"
