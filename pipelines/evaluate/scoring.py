"""Chooses what scores the predictions of a task: the metric's rule, or the verdicts of a judge."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from curation.scores.answers.metric import Metric
from curation.scores.answers.registry import METRICS
from curation.scores.answers.scoring import Estimates, compare_answers, score_answers
from curation.scores.answers.verdicts import JUDGED
from curation.tasks.predictions import Prediction, Predictions

RULE = "rule"
NOT_ASKED = "not asked"  # the command ended before


@dataclass(frozen=True, slots=True)
class Scoring:
    """Holds the metric of a task, and its judge if it has one."""

    metric: Metric
    judge: str | None  # the name of its model
    gives_score: bool = False  # else the judge reads out the answer that the metric scores

    @classmethod
    def from_predictions(cls, predictions: Predictions) -> Self:
        """Returns how these predictions are scored."""
        judge = predictions.about["options"].get("judge")
        if judge is None:
            return cls(METRICS[predictions.metric], None)
        return cls(METRICS[predictions.metric], judge["settings"]["model"], judge["gives"] == "score")

    @property
    def scored_by(self) -> str:
        """Returns `rule`, or who judges."""
        return RULE if self.judge is None else f"judge {self.judge}"

    @property
    def name(self) -> str:
        """Returns a name of the metric and the judge: figures of equal names can be compared."""
        return self.metric.name if self.judge is None else f"{self.metric.name} and the {self.scored_by}"

    def score(self, rows: Sequence[Prediction]) -> Estimates:
        """Returns the figures: the judge's first, then those of the rule, which has no part in them."""
        figures: Estimates = {}
        for metric in self._metrics:
            figures |= score_answers(metric, [row.to_answered() for row in self._select(metric, rows)])
        return figures

    def compare(self, rows: Sequence[Prediction], others: Sequence[Prediction]) -> Estimates:
        """Returns the differences from another model's figures. Raises `ValueError` as `compare_answers` does."""
        figures: Estimates = {}
        for metric in self._metrics:
            ours, theirs = ([row.to_answered() for row in self._select(metric, each)] for each in (rows, others))
            figures |= compare_answers(metric, ours, theirs)
        return figures

    def count_failures(self, rows: Sequence[Prediction]) -> dict[str, int]:
        """Returns the number of answers without a verdict, by reason."""
        if self.judge is None:
            return {}
        failed = (row for row in rows if not self._has_verdict(row))
        return dict(sorted(Counter(row.judge_error or NOT_ASKED for row in failed).items()))

    @property
    def _metrics(self) -> tuple[Metric, ...]:
        return (JUDGED, self.metric) if self.gives_score else (self.metric,)

    def _select(self, metric: Metric, rows: Sequence[Prediction]) -> list[Prediction]:
        """Returns the rows that a metric scores: the rule takes all, and what needs a verdict those that have one."""
        needs_verdict = self.judge is not None and (metric is JUDGED or not self.gives_score)
        return [row for row in rows if not needs_verdict or self._has_verdict(row)]

    def _has_verdict(self, row: Prediction) -> bool:
        """Returns whether the judge has decided, or need not have: a question that was not answered is wrong."""
        return not row.judge_error and bool(row.judge or row.error)
