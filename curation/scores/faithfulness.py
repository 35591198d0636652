"""Computes the shares of claims that annotations support and contradict, with 95% confidence intervals.

Images are drawn with replacement, as in `curation.scores.bootstrap`. Captions with equal counts are drawn as a group,
so that memory does not grow with the number of images.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from curation.faithfulness.claims import Claim, ClaimKind, Status
from curation.scores.bootstrap import Estimate, Floats, divide, draw_group_resamples, estimate

_CELLS = [(kind, status) for kind in ClaimKind for status in Status]
_SUPPORTED, _CONTRADICTED = ([status is wanted for _, status in _CELLS] for wanted in list(Status)[:2])

ClaimCounts = tuple[int, ...]
"""The claims of one caption by kind and status."""


@dataclass(frozen=True, slots=True)
class FaithfulnessScore:
    """Holds the figures of the captions of one source and name."""

    source: str
    caption: str
    captions: int
    counts: dict[str, dict[str, int]]  # claims, by kind and status
    claims: int
    supported: Estimate  # shares of all claims
    contradicted: Estimate
    unchecked: Estimate
    contradicted_of_checked: Estimate  # of the claims that are supported or contradicted
    captions_contradicted: Estimate  # share of the captions with a contradicted claim


class FaithfulnessCounts:
    """Counts the claims of captions by source and name."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], Counter[ClaimCounts]] = {}

    def add(self, source: str, caption: str, claims: Iterable[Claim]) -> None:
        """Counts the claims of one caption of one image."""
        found = Counter((claim.kind, claim.status) for claim in claims)
        self._groups.setdefault((source, caption), Counter())[tuple(found[cell] for cell in _CELLS)] += 1

    def score(self) -> list[FaithfulnessScore]:
        """Returns the figures by caption name and source; the source `total` follows where a caption has several."""
        scores = []
        for name in sorted({caption for _, caption in self._groups}):
            sources = {source: counts for (source, caption), counts in self._groups.items() if caption == name}
            scores += [_score_captions(source, name, sources[source]) for source in sorted(sources)]
            if len(sources) > 1:
                scores.append(_score_captions("total", name, sum(sources.values(), Counter[ClaimCounts]())))
        return scores


def _score_captions(source: str, name: str, groups: Counter[ClaimCounts]) -> FaithfulnessScore:
    ordered = sorted(groups)
    table = np.array(ordered, np.float64).reshape(len(ordered), len(_CELLS))
    drawn = draw_group_resamples([groups[counts] for counts in ordered])
    images = groups.total()

    def share(part: Floats, whole: Floats) -> Estimate:
        return estimate(divide(part, whole), images)

    claims = drawn @ table.sum(axis=1)
    supported, contradicted = drawn @ table[:, _SUPPORTED].sum(axis=1), drawn @ table[:, _CONTRADICTED].sum(axis=1)
    wrong = drawn @ (table[:, _CONTRADICTED].sum(axis=1) > 0)
    totals = dict(zip(_CELLS, (drawn[0] @ table).astype(int).tolist(), strict=True))
    return FaithfulnessScore(
        source,
        name,
        captions=images,
        counts={kind: {status: totals[kind, status] for status in Status} for kind in ClaimKind},
        claims=int(claims[0]),
        supported=share(supported, claims),
        contradicted=share(contradicted, claims),
        unchecked=share(claims - supported - contradicted, claims),
        contradicted_of_checked=share(contradicted, supported + contradicted),
        captions_contradicted=share(wrong, drawn.sum(axis=1)),
    )
