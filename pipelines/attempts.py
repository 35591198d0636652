"""Finds the sample that kills its worker, by halving.

A native crash or the out-of-memory killer takes the whole process, so the process can't say which image did it. It
says beforehand what it is about to work on. When a chunk is begun that was begun before and never finished, the worker
before died in the range noted last; the next attempt cuts that range in two, until one sample stands alone and has
killed twice. Twice, because a worker may also die for reasons that are not the sample's.
"""

import itertools
from dataclasses import dataclass, field

DEATHS_ALONE = 2

Range = tuple[int, int]
"""start, stop of a run of samples in a chunk."""


@dataclass(slots=True)
class Attempts:
    """What the attempts at one chunk have taught."""

    at_work: Range
    suspects: list[Range] = field(default_factory=list)  # ranges in which a worker died
    killers: list[int] = field(default_factory=list)
    alone: dict[int, int] = field(default_factory=dict)  # sample -> deaths while it was at work alone

    def died(self) -> None:
        """The attempt before this one ended with the death of its worker."""
        start, stop = self.at_work
        self.suspects.append(self.at_work)
        if stop - start == 1:
            self.alone[start] = self.alone.get(start, 0) + 1
            if self.alone[start] >= DEATHS_ALONE:
                self.killers.append(start)

    def ranges(self, rows: int, batch: int) -> list[Range]:
        """The batches to work on, in order, without killers, cut finer where an attempt died."""
        cuts = {*range(0, rows, batch), rows}
        for start, stop in self.suspects:
            cuts |= {start, (start + stop) // 2, stop}
        for killer in self.killers:
            cuts |= {killer, killer + 1}
        edges = sorted(cuts)
        return [(a, b) for a, b in itertools.pairwise(edges) if a not in self.killers]
