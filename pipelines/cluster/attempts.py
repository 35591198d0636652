"""Finds the poison sample that kills its worker by bisection: batch by batch, then by halving.

A native crash or the out-of-memory killer ends the whole process, so the process can't report which image did it. After
a death the next attempt at the chunk is isolating: it reports each batch before it starts on it. A batch in which
workers died twice is cut in two, until one sample stands alone and has killed twice. Twice, because a worker may also
die for reasons that are not the sample's. Until then batches stay whole, because the last digits of an engine's output
may depend on the rest of the batch: killing a worker from outside must not alter them.

A worker that hangs is killed, and counts as dead (`pipelines.annotate.hang_watch`). One such death is enough, because
it is known that this sample caused it.
"""

import itertools
from collections import Counter
from dataclasses import dataclass, field

MAX_DEATHS = 2

Range = tuple[int, int]
"""A row range of samples in a chunk: start, and stop, which is not included."""


@dataclass(slots=True)
class Attempts:
    """Records what earlier attempts at one chunk have shown."""

    at_work: Range
    deaths: Counter[Range] = field(default_factory=Counter)  # by the range that was being worked on
    hangs: set[Range] = field(default_factory=set)  # on which a worker hung

    @property
    def is_isolating(self) -> bool:
        """Returns whether a worker has died. Then the next is isolating: it reports each range before it starts."""
        return bool(self.deaths)

    @property
    def poison_samples(self) -> list[int]:
        """Returns the poison samples: each killed `MAX_DEATHS` workers while worked on alone, or made
        one worker hang.
        """
        found = self.hangs | {at_work for at_work, deaths in self.deaths.items() if deaths >= MAX_DEATHS}
        return sorted(start for start, stop in found if stop - start == 1)

    def describe_fault(self, sample: int) -> str:
        """Returns what a poison sample has done, for the detail of its row."""
        if (sample, sample + 1) in self.hangs:
            return "a worker hung while processing only this sample and was killed"
        return f"{MAX_DEATHS} workers died while processing only this sample"

    def record_death(self) -> None:
        """Records that the previous attempt ended with the death of its worker."""
        self.deaths[self.at_work] += 1

    def record_hang(self, at_work: Range, is_decoding: bool) -> None:
        """Records that the worker never returns from these samples and is about to be killed.

        `record_death` counts its death later. The rest of a decoder's batch can stay together; an engine's batch must
        be halved.
        """
        self.at_work = at_work
        self.hangs.add(at_work)
        if not is_decoding:
            self.deaths[at_work] = max(self.deaths[at_work], MAX_DEATHS - 1)

    def plan_ranges(self, rows: int, batch: int) -> list[Range]:
        """Returns the batches of a chunk of `rows` samples, in order, cut finer where workers died `MAX_DEATHS` times.

        Poison samples that stand alone are left out; the caller skips those that are still in a batch.
        """
        cuts = {*range(0, rows, batch), rows}
        for (start, stop), deaths in self.deaths.items():
            if stop - start <= batch and deaths >= MAX_DEATHS:
                cuts |= {start, (start + stop) // 2, stop}
        poison_samples = set(self.poison_samples)
        return [
            (start, stop) for start, stop in itertools.pairwise(sorted(cuts)) if {*range(start, stop)} - poison_samples
        ]
