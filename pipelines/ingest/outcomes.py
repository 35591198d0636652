"""Defines what becomes of a row of the input, and splits the rows of a unit into shards."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.output.training_shards import Sample
from schemas.output_set.manifest import UNREADABLE_METADATA
from schemas.records.quarantine import QuarantinedRow, Reason

_FILTER_REASONS = {Reason.TOO_SMALL, Reason.EXTREME_ASPECT, Reason.REPEATED_IMAGE, Reason.REPEATED_IMAGE_IN_DOCUMENT}


@dataclass(frozen=True, slots=True)
class IngestedSample:
    """Holds a sample with the number of its texts, and of its images that were left out, by reason."""

    sample: Sample
    texts: int
    dropped: Counter[Reason]
    has_unreadable_metadata: bool = False


@dataclass(frozen=True, slots=True)
class LeftOutRow:
    """Stands for a row that the recipe does not choose."""


@dataclass(frozen=True, slots=True)
class OutputSummary:
    """Holds the row counts, quarantined rows and image counts of one output."""

    rows: int  # samples, quarantined rows, and those that are left out
    quarantined: list[QuarantinedRow]
    counts: dict[str, int]
    left_out: int = 0


class ShardSplitter:
    """Splits a stream of outcomes into shards of at most `samples` samples and `size` bytes, but at least one sample.

    A sample that does not fit starts the next shard.
    """

    def __init__(
        self, outcomes: Iterator[IngestedSample | QuarantinedRow | LeftOutRow], samples: int, size: int
    ) -> None:
        self._outcomes, self._samples, self._size = outcomes, samples, size
        self._made: list[tuple[Counter[Reason], int, bool]] = []
        self._quarantined: list[QuarantinedRow] = []
        self._left_out = 0
        self._pending: IngestedSample | None = None  # the sample that starts the next shard
        self.is_done = False

    def take_next(self) -> Iterator[Sample]:
        """Yields the samples of the next shard; `summarise` describes it until `take_next` is called again."""
        self._made, self._quarantined, self._left_out = [], [], 0
        size = 0
        while (outcome := self._pending or next(self._outcomes, None)) is not None:
            self._pending = None
            if isinstance(outcome, QuarantinedRow):
                self._quarantined.append(outcome)
                continue
            if isinstance(outcome, LeftOutRow):
                self._left_out += 1
                continue
            size += outcome.sample.size
            if self._made and (len(self._made) == self._samples or size > self._size):
                self._pending = outcome
                return
            self._made.append((outcome.dropped, outcome.texts, outcome.has_unreadable_metadata))
            yield outcome.sample
        self.is_done = True

    def summarise(self) -> OutputSummary:
        """Returns the summary of the shard that `take_next` yielded last."""
        dropped: Counter[Reason] = sum((dropped for dropped, _, _ in self._made), Counter())
        counts = {f"dropped_{reason.value}": count for reason, count in dropped.items()}
        counts["lost_images"] = sum(count for reason, count in dropped.items() if reason not in _FILTER_REASONS)
        counts["texts"] = sum(texts for _, texts, _ in self._made)
        counts["documents"] = len(self._made)
        if unreadable := sum(is_unreadable for *_, is_unreadable in self._made):
            counts[UNREADABLE_METADATA] = unreadable
        rows = len(self._made) + len(self._quarantined) + self._left_out
        return OutputSummary(rows, self._quarantined, counts, self._left_out)
