"""Shares of claims by source and caption name, with intervals that do not depend on how captions are grouped."""

import numpy as np

from curation.faithfulness.claims import Claim, ClaimKind, Status
from curation.scores.bootstrap import DRAWS, Estimate, draw_group_resamples
from curation.scores.faithfulness import FaithfulnessCounts


def claims(**statuses: int) -> list[Claim]:
    return [
        Claim(ClaimKind.THING, Status[name.upper()], 0, 1) for name, number in statuses.items() for _ in range(number)
    ]


def test_shares_and_counts() -> None:
    counts = FaithfulnessCounts()
    counts.add("b", "dense", claims(supported=1, contradicted=1))
    counts.add("b", "dense", claims(unchecked=2))
    counts.add("a", "dense", claims(supported=4))
    counts.add("a", "alt_text", [])
    found = counts.score()
    assert [(score.caption, score.source, score.captions, score.claims) for score in found] == [
        ("alt_text", "a", 1, 0),
        ("dense", "a", 1, 4),
        ("dense", "b", 2, 4),
        ("dense", "total", 3, 8),
    ]
    assert found[0].supported == found[0].contradicted_of_checked == Estimate(None)
    assert found[0].captions_contradicted == Estimate(0.0)
    total = found[3]
    shares = (total.supported, total.contradicted, total.unchecked, total.contradicted_of_checked)
    assert [share.value for share in shares] == [5 / 8, 1 / 8, 2 / 8, 1 / 6]
    assert total.captions_contradicted.value == 1 / 3
    assert total.counts[ClaimKind.THING] == {"supported": 5, "contradicted": 1, "unchecked": 2}
    assert total.counts[ClaimKind.QUOTE] == {"supported": 0, "contradicted": 0, "unchecked": 0}


def test_the_interval_is_that_of_a_share_of_images() -> None:
    """A tenth of 400 captions: the standard deviation of the share is 0.015."""
    counts = FaithfulnessCounts()
    for number in range(400):
        counts.add("a", "dense", claims(supported=number % 10 > 0, contradicted=number % 10 == 0))
    share = counts.score()[0].contradicted
    assert share.value == 0.1
    assert share.low is not None
    assert share.high is not None
    assert 0.067 < share.low < 0.075
    assert 0.125 < share.high < 0.133


def test_groups_are_drawn_as_often_as_their_images() -> None:
    drawn = draw_group_resamples([30, 10])
    assert drawn.shape == (1 + DRAWS, 2)
    assert drawn[0].tolist() == [30, 10]
    assert set(drawn.sum(axis=1)) == {40}
    assert abs(drawn[1:, 0].mean() - 30) < 0.5
    assert abs(np.std(drawn[1:, 0]) - np.sqrt(40 * 0.75 * 0.25)) < 0.2
    assert draw_group_resamples([]).shape == (1 + DRAWS, 0)
