"""Keeps which requests of an engine are being retried, and why, and reports each change."""

from collections import Counter
from collections.abc import Callable, Mapping

Report = Callable[[Mapping[str, int]], object]
"""Takes the number of requests that are being retried, by the reason."""


class RetriedRequests:
    """Counts the requests that have failed and are sent again, each named by a number. Used by one thread."""

    def __init__(self) -> None:
        self.report: Report | None = None
        self._reasons: dict[int, str] = {}

    def add(self, request: int, reason: str) -> None:
        """Records that the request has failed for this reason and will be sent again."""
        if self._reasons.get(request) != reason:
            self._reasons[request] = reason
            self._report()

    def remove(self, request: int) -> None:
        """Records that the request has its answer, or is given up."""
        if self._reasons.pop(request, None) is not None:
            self._report()

    def _report(self) -> None:
        if self.report is not None:
            self.report(Counter(self._reasons.values()))
