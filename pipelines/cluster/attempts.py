"""Finds the sample that kills its worker: batch by batch, then by halving.

A native crash or the out-of-memory killer takes the whole process, so the process can't say which image did it. When a
chunk is begun that was begun before and never finished, the next attempt says beforehand which batch it is about to
work on; a batch in which workers died twice is cut in two, until one sample stands alone and has killed twice. Twice,
because a worker may also die for reasons that are not the sample's. Batches are kept whole until then, because an
engine's last digits may depend on what else is in a batch: a worker that is killed from outside must not alter them.

A worker that never comes back is ended, which is a death like others (`pipelines.annotate.hang_watch`). One is enough
then, because it is known what the worker was at, and that it was this.
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
    hangs: set[Range] = field(default_factory=set)  # at which a worker was ended

    @property
    def careful(self) -> bool:
        """Whether a worker has died, so that the next one must say what it works on."""
        return bool(self.deaths)

    @property
    def killers(self) -> list[int]:
        """Samples that have killed often enough while they were at work alone, or at which one worker hung."""
        found = self.hangs | {at_work for at_work, deaths in self.deaths.items() if deaths >= DEATHS}
        return sorted(start for start, stop in found if stop - start == 1)

    def fault(self, killer: int) -> str:
        """Returns what a killer has done, for the detail of its row."""
        if (killer, killer + 1) in self.hangs:
            return "a worker at work on this sample alone came to no end, and was ended"
        return f"{DEATHS} workers died while they were at work on this sample alone"

    def died(self) -> None:
        """The attempt before this one ended with the death of its worker."""
        self.deaths[self.at_work] += 1

    def hung(self, at_work: Range, is_decoding: bool) -> None:
        """The worker is ended, for it has been at these samples without end. Its death is still to be counted.

        Of a decoder's batch the others can stay together; that of an engine is to be halved.
        """
        self.at_work = at_work
        self.hangs.add(at_work)
        if not is_decoding:
            self.deaths[at_work] = max(self.deaths[at_work], DEATHS - 1)

    def ranges(self, rows: int, batch: int) -> list[Range]:
        """The batches to work on, in order, cut finer where workers died again and again.

        Killers that stand alone are left out; those that are still in a batch are for the caller to pass over.
        """
        cuts = {*range(0, rows, batch), rows}
        for (start, stop), deaths in self.deaths.items():
            if stop - start <= batch and deaths >= DEATHS:
                cuts |= {start, (start + stop) // 2, stop}
        killers = set(self.killers)
        return [(start, stop) for start, stop in itertools.pairwise(sorted(cuts)) if {*range(start, stop)} - killers]
