"""Computes the scores of predictions from their rows alone, and compares two models on the same questions."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from curation.scores.answers.scoring import Estimates
from curation.scores.bootstrap import CONFIDENCE, DRAWS, SEED
from curation.tasks.predictions import Predictions, read_predictions
from pipelines.evaluate.leak_scores import LeakScores, score_leaks
from pipelines.evaluate.scoring import Scoring
from schemas.errors import UsageError
from schemas.output_set.layout import QUARANTINE as QUARANTINE
from schemas.storage.folder import Folder

ROWS = "predictions"  # the folder of an evaluation's rows
SCORES_FILE = "scores.json"


@dataclass(frozen=True, slots=True)
class TaskScore:
    """Holds the figures of one task with one number of demonstrations."""

    name: str  # of the task, with the number of demonstrations
    task: str
    shots: int
    metric: str
    model: str
    questions: int
    quarantined: dict[str, int]  # rows that are no questions, or whose image can't be used, by reason
    left_out: dict[str, int]  # rows that the task does not ask for, by what leaves them out
    errors: int  # questions that the model could not take: they count as answered by nothing
    cut: int  # answers that the limit of new tokens ended
    seed: int | None  # of the demonstrations
    scored_by: str  # rule, or the judge's name: "rule" or "judge MODEL"
    without_verdict: dict[str, int]  # answers of which the judge gave no verdict, by reason: in none of its figures
    figures: Estimates
    differences: Estimates | None  # from the other model's figures, on the questions that both answered
    leaks: LeakScores | None  # None: they were not looked for


@dataclass(frozen=True, slots=True)
class ModelScores:
    """Holds the scores of all tasks."""

    tasks: list[TaskScore]

    def to_dict(self) -> dict[str, Any]:
        """Returns the scores as plain data."""
        method = "percentile bootstrap of questions"
        interval = {"confidence": CONFIDENCE, "draws": DRAWS, "seed": SEED, "method": method}
        return {"what": "model", "interval": interval, "tasks": [asdict(task) for task in self.tasks]}


def read_all_predictions(folder: str) -> list[Predictions]:
    """Reads the predictions that `evaluate model` has written. Raises `UsageError` where there are none."""
    place = Folder(folder) / ROWS
    names = place.list_files()
    if not names:
        raise UsageError(f"{folder} holds no predictions: pass the output folder of `evaluate model`")
    return sorted((read_predictions(place, name) for name in names), key=lambda one: (one.task, one.shots))


def write_scores(folder: str, scores: ModelScores) -> None:
    """Writes the scores beside the predictions."""
    Folder(folder).write(SCORES_FILE, json.dumps(scores.to_dict(), indent=1).encode())


def score_predictions(predictions: Sequence[Predictions], others: Sequence[Predictions] | None = None) -> ModelScores:
    """Computes all scores; with the predictions of another model also the differences from its figures.

    Raises `UsageError` if the other model has no predictions of the same task, or another task under its name.
    """
    by_name = None if others is None else {one.name: one for one in others}
    return ModelScores([_score_task(one, by_name) for one in predictions])


def _score_task(one: Predictions, others: dict[str, Predictions] | None) -> TaskScore:
    scoring = Scoring.from_predictions(one)
    differences = None
    if others is not None:
        other = others.get(one.name)
        if other is None or Scoring.from_predictions(other).name != scoring.name:
            raise UsageError(f"--against: it has no predictions of {one.name} that are scored by {scoring.name}")
        try:
            differences = scoring.compare(one.rows, other.rows)
        except ValueError as error:
            raise UsageError(f"--against: {one.name}: {error}") from None
    drawn_from = one.about["options"]["demonstrations"]
    return TaskScore(
        name=one.name,
        task=one.task,
        shots=one.shots,
        metric=one.metric,
        model=one.about["model"],
        questions=len(one.rows),
        quarantined=dict(one.reasons),
        left_out=dict(one.about.get("left_out", {})),
        errors=sum(bool(row.error) for row in one.rows),
        cut=sum(not row.is_complete and not row.error for row in one.rows),
        seed=None if drawn_from is None else drawn_from["seed"],
        scored_by=scoring.scored_by,
        without_verdict=scoring.count_failures(one.rows),
        figures=scoring.score(one.rows),
        differences=differences,
        leaks=score_leaks(one, scoring),
    )
