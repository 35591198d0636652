"""Finds the sample that kills its worker: batch by batch, then by halving.

A native crash or the out-of-memory killer takes the whole process, so the process can't say which image did it. When a
chunk is begun that was begun before and never finished, the next attempt says beforehand which batch it is about to
work on; a batch in which workers died twice is cut in two, until one sample stands alone and has killed twice. Twice,
because a worker may also die for reasons that are not the sample's. Batches are kept whole until then, because an
engine's last digits may depend on what else is in a batch: a worker that is killed from outside must not alter them.
"""

import itertools
from collections import Counter
from dataclasses import dataclass, field

DEATHS = 2

Range = tuple[int, int]
"""start, stop of a run of samples in a chunk."""


@dataclass(slots=True)
class Attempts:
    """What the attempts at one chunk have taught."""

    at_work: Range
    deaths: Counter[Range] = field(default_factory=Counter)  # by the range that was at work

    @property
    def careful(self) -> bool:
        """Whether a worker has died, so that the next one must say what it works on."""
        return bool(self.deaths)

    @property
    def killers(self) -> list[int]:
        """Samples that have killed often enough while they were at work alone."""
        return [start for (start, stop), deaths in self.deaths.items() if stop - start == 1 and deaths >= DEATHS]

    def died(self) -> None:
        """The attempt before this one ended with the death of its worker."""
        self.deaths[self.at_work] += 1

    def ranges(self, rows: int, batch: int) -> list[Range]:
        """The batches to work on, in order, without killers, cut finer where workers died again and again."""
        cuts = {*range(0, rows, batch), rows}
        for (start, stop), deaths in self.deaths.items():
            if stop - start <= batch and deaths >= DEATHS:
                cuts |= {start, (start + stop) // 2, stop}
        killers = self.killers
        return [edges for edges in itertools.pairwise(sorted(cuts)) if edges[0] not in killers]
