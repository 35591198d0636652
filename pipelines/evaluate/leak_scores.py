"""Counts the questions of a task that training sets show, and scores those that none shows."""

from dataclasses import asdict, dataclass
from typing import Any

from curation.scores.answers.scoring import Estimates
from curation.scores.bootstrap import Estimate, divide, draw_group_resamples, estimate
from curation.tasks.predictions import Predictions
from pipelines.evaluate.scoring import Scoring

SHOWN_PAIRS = 5  # in the scores; the rows have more


@dataclass(frozen=True, slots=True)
class LeakedPair:
    """Names a question and a sample that shows it."""

    question: str
    set: str
    key: str
    distance: int | None
    share: float | None
    is_short: bool


@dataclass(frozen=True, slots=True)
class LeakScores:
    """Holds how many of a task's questions are in training sets, and the figures of the others."""

    compared: dict[str, Any]  # the sets, their samples and images, and what could not be compared
    leaked: Estimate  # share of the questions that a sample shows
    questions: int  # their number
    by_image: int
    by_text: int
    by_both: int  # a sample has both
    by_short_text: int  # by nothing but a text of under 8 words, which may be asked about any image
    pairs: list[LeakedPair]  # of the first such questions
    figures: Estimates  # of the questions that no sample shows


def score_leaks(predictions: Predictions, scoring: Scoring) -> LeakScores | None:
    """Returns the counts and the figures; None where nobody has looked for leaks."""
    if (compared := predictions.about.get("leaks")) is None:
        return None
    kinds = [{leak.kind for leak in row.leaks} for row in predictions.rows]
    leaked = [row for row in predictions.rows if row.leaks]
    return LeakScores(
        compared=compared,
        leaked=_estimate_share(len(leaked), len(predictions.rows)),
        questions=len(leaked),
        by_image=sum(not found.isdisjoint(("image", "both")) for found in kinds),
        by_text=sum(not found.isdisjoint(("text", "both")) for found in kinds),
        by_both=sum("both" in found for found in kinds),
        by_short_text=sum(all(leak.kind == "text" and leak.is_short for leak in row.leaks) for row in leaked),
        pairs=[LeakedPair(row.id, **asdict(row.leaks[0])) for row in leaked[:SHOWN_PAIRS]],
        figures=scoring.score([row for row in predictions.rows if not row.leaks]),
    )


def _estimate_share(part: int, whole: int) -> Estimate:
    drawn = draw_group_resamples([part, whole - part])
    return estimate(divide(drawn[:, 0], drawn.sum(axis=1)), whole)
