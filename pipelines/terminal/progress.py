"""Shows progress, rate and time left: a bar on a terminal, elsewhere a line every ten seconds."""

import logging
import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console  # noqa: TID251  for a bar
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from schemas.log import LOG, is_shown
from schemas.terminal import escape_controls, format_duration

LINE_SECONDS = 10.0


class Progress:
    """Shows the progress of work of a known size. `done` has the unit of `total`; `items` counts what the user sees."""

    def __init__(self, title: str, total: int, unit: str = "images") -> None:
        self.title, self.total, self.unit = title, max(total, 1), unit
        self.done = self.items = 0
        self._started = self._line = time.monotonic()
        self._bar: Bar | None = None
        if is_shown(logging.INFO) and sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self._bar = Bar(
                *columns, TextColumn("{task.fields[rate]}", markup=False), console=Console(stderr=True), transient=True
            )
            self._task = self._bar.add_task(title, total=self.total, rate="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def restart_clock(self) -> None:
        """Starts the clock for rate and time left now, so that start-up does not count."""
        self._started = time.monotonic()

    def advance(self, done: int) -> None:
        """Adds to `done` and updates the display."""
        self.done += done
        self.show()

    def show(self, items: int | None = None, doing: str = "", note: str = "") -> None:
        """Updates the display: `items` is their number so far, `doing` replaces the rate, `note` is added to it."""
        self.items = self.items if items is None else items
        seconds = max(time.monotonic() - self._started, 1e-3)
        rate = doing or f"{self.items:,} {self.unit}, {self.items / seconds:.1f}/s"
        note = f"; {note}" if note else ""
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, rate=escape_controls(rate + note))
        if time.monotonic() - self._line >= LINE_SECONDS:
            self._line = time.monotonic()
            share = self.done / self.total
            left = f", {format_duration(seconds * (1 - share) / share)} left" if share > 0 and not doing else ""
            LOG.info(f"{self.title}: {share:.0%}, {rate}{left}{note}", extra={"is_on_screen": self._bar is not None})
