"""Scores a comparison from the rows of its models' predictions: each figure, and the difference of the recipes."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

import numpy as np

from curation.scores.answers.metric import AnsweredQuestion
from curation.scores.answers.pseudo_values import compute_pseudo_values
from curation.scores.answers.registry import METRICS
from curation.scores.bootstrap import CONFIDENCE, Floats
from curation.scores.power import POWER
from curation.scores.seed_effects import SeedEffect, estimate_effect
from curation.tasks.predictions import Predictions, read_predictions
from pipelines.compare.design import FIRST, NULL, SECOND, Training
from pipelines.compare.folder import name_predictions, read_finished
from pipelines.evaluate.model_scores import ROWS
from pipelines.evaluate.open_task import OpenTask
from schemas.errors import UsageError
from schemas.storage.folder import Folder

SEEN = ("tokens", "images", "samples")
"""What a table shows of the budgets: tokens of texts and images, without padding."""


@dataclass(frozen=True, slots=True)
class FigureComparison:
    """Holds one figure: of each arm's models, in the order of the seeds, and the differences between the arms."""

    by_seed: dict[str, list[float | None]]
    difference: SeedEffect  # the second recipe's above the first's
    null: SeedEffect | None  # the first recipe's with other seeds above its own


@dataclass(frozen=True, slots=True)
class TaskComparison:
    """Holds the figures of one task with one number of demonstrations."""

    name: str
    task: str
    shots: int
    metric: str
    questions: int  # that all models answered
    figures: dict[str, FigureComparison]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Holds all scores of a comparison."""

    recipes: dict[str, str]  # the recipe's file of each arm
    seeds: dict[str, list[int]]
    positions: int  # that each training has taken, or each of the first recipe's
    seen: dict[str, dict[str, float]]  # by arm: the mean over its trainings
    order_difference: str | None
    tasks: list[TaskComparison]
    equal: str = "positions"  # what both recipes take as many of: positions, or images
    positions_by_arm: dict[str, int] = field(default_factory=dict)  # where they are not equal

    def to_dict(self) -> dict[str, Any]:
        """Returns the comparison as plain data."""
        method = "Student's t over seeds and questions"
        interval = {"confidence": CONFIDENCE, "power": POWER, "method": method}
        return {"what": "comparison", "interval": interval, **asdict(self)}

    def to_json(self) -> bytes:
        """Returns the comparison as JSON."""
        return json.dumps(self.to_dict(), indent=1).encode()


def score_comparison(
    recipes: dict[str, str],
    trainings: Sequence[Training],
    tasks: Sequence[OpenTask],
    positions: int,
    order_difference: str | None,
    equal: str = "positions",
    positions_by_arm: dict[str, int] | None = None,
) -> Comparison:
    """Reads all predictions and computes the figures. Raises `UsageError` where right answers have changed."""
    by_arm = {arm: [one for one in trainings if one.arm == arm] for arm in recipes}
    return Comparison(
        recipes=recipes,
        seeds={arm: [one.seed for one in own] for arm, own in by_arm.items()},
        positions=positions,
        seen={arm: _average_seen(own) for arm, own in by_arm.items()},
        order_difference=order_difference,
        tasks=[_score_task(task, shots, by_arm) for task in tasks for shots in task.options.shots],
        equal=equal,
        positions_by_arm=positions_by_arm or {},
    )


def _average_seen(trainings: Sequence[Training]) -> dict[str, float]:
    finished = [found.seen for one in trainings if (found := read_finished(one)) is not None]
    return {name: fmean(seen[name] for seen in finished) for name in SEEN}


def _score_task(task: OpenTask, shots: int, by_arm: Mapping[str, Sequence[Training]]) -> TaskComparison:
    name = name_predictions(task, shots)
    found = {
        arm: [read_predictions(Folder(str(one.folder)), f"{ROWS}/{name}.parquet") for one in trainings]
        for arm, trainings in by_arm.items()
    }
    answered = {arm: [_select_shared(one, found, name) for one in models] for arm, models in found.items()}
    metric = METRICS[task.options.metric]
    values = {
        arm: [compute_pseudo_values(metric, questions) for questions in models] for arm, models in answered.items()
    }
    figures = {
        figure: _compare_figure({arm: np.array([one[figure] for one in models]) for arm, models in values.items()})
        for figure in metric.figures
    }
    questions = len(answered[FIRST][0])
    return TaskComparison(name, task.options.name, shots, task.options.metric, questions, figures)


def _select_shared(
    model: Predictions, all_models: Mapping[str, Sequence[Predictions]], name: str
) -> list[AnsweredQuestion]:
    """Returns a model's answers to the questions that all models answered, in the order of the first model's rows.

    Raises `UsageError` for a question with other right answers than the first model's.
    """
    shared = set.intersection(*({row.id for row in one.rows} for models in all_models.values() for one in models))
    own, first = ({row.id: row for row in one.rows} for one in (model, all_models[FIRST][0]))
    for id in shared:
        if (own[id].answers, own[id].choices) != (first[id].answers, first[id].choices):
            raise UsageError(
                f"task {name}: question {id} has other right answers than when the first model answered it: its file "
                "has changed; pass a new --output"
            )
    return [own[row.id].to_answered() for row in all_models[FIRST][0].rows if row.id in shared]


def _compare_figure(values: Mapping[str, Floats]) -> FigureComparison:
    """Compares the arms by their pseudo-values [seeds, questions]."""
    return FigureComparison(
        by_seed={arm: [_to_json(value) for value in own.mean(axis=1).tolist()] for arm, own in values.items()},
        difference=estimate_effect(values[SECOND] - values[FIRST]),
        null=estimate_effect(values[NULL] - values[FIRST]) if NULL in values else None,
    )


def _to_json(value: float) -> float | None:
    return None if math.isnan(value) else value
