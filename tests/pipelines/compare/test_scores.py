"""Differences from rows of predictions: a planted one is found, and noise is not."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curation.tasks.predictions import Prediction, Predictions, encode_predictions
from curation.tasks.task_file import load_task
from pipelines.compare.design import FIRST, NULL, SECOND, Arm, Training, list_trainings
from pipelines.compare.scores import Comparison, score_comparison
from pipelines.evaluate.open_task import OpenTask, open_task
from schemas.errors import UsageError
from schemas.storage.folder import Folder
from tests.pipelines.compare.conftest import Inputs
from tests.training.support import runs

COUNT, SEEDS = 60, 3
RIGHT = {FIRST: 0.4, SECOND: 0.7, NULL: 0.4}
"""The share of questions that an arm's models answer right."""


@pytest.fixture
def task(inputs: Inputs) -> OpenTask:
    return open_task(load_task(str(inputs.write_task("planted", COUNT, metric="exact_match"))))


@pytest.fixture
def trainings(task: OpenTask, tmp_path: Path) -> list[Training]:
    """Trainings that are finished, with answers of models that are right by chance."""
    recipe = runs.recipe(tmp_path)
    arms = [Arm(name, "x.yaml", recipe) for name in RIGHT]
    found = list_trainings(arms, range(SEEDS), str(tmp_path))
    for one in found:
        chance = random.Random(f"{one.arm}/{one.seed}")
        write_answers(one, task, [chance.random() < RIGHT[one.arm] for _ in range(COUNT)])
    return found


def write_answers(training: Training, task: OpenTask, right: list[bool], choices: tuple[str, ...] = ()) -> None:
    pairs = zip(task.questions, right, strict=True)
    said = [(question, question.answers[0] if is_right else "") for question, is_right in pairs]
    rows = [Prediction(one.id, "", one.answers, choices, "", "", (), prediction=answer) for one, answer in said]
    found = Predictions("planted", 0, "exact_match", {}, rows)
    folder = Folder(str(training.folder))
    folder.write("predictions/planted-0shot.parquet", encode_predictions(found))
    seen = {"tokens": 100 + training.seed, "images": 10, "samples": 5}
    folder.write("training.json", json.dumps({"seconds": 1.0, "seen": seen}).encode())


def score(trainings: list[Training], task: OpenTask) -> Comparison:
    return score_comparison({arm: f"{arm}.yaml" for arm in RIGHT}, trainings, [task], 1000, None)


def read_scores(training: Training) -> list[float]:
    chance = random.Random(f"{training.arm}/{training.seed}")
    return [float(chance.random() < RIGHT[training.arm]) for _ in range(COUNT)]


def test_a_planted_difference_is_found_and_the_null_is_none(trainings: list[Training], task: OpenTask) -> None:
    found = score(trainings, task)
    (one,) = found.tasks
    figure = one.figures["exact_match"]
    scores = {arm: np.array([read_scores(each) for each in trainings if each.arm == arm]) for arm in RIGHT}
    assert {arm: figure.by_seed[arm] for arm in RIGHT} == {
        arm: pytest.approx(values.mean(axis=1).tolist()) for arm, values in scores.items()
    }
    assert figure.difference.value == pytest.approx(scores[SECOND].mean() - scores[FIRST].mean())
    assert figure.difference.is_found
    assert figure.null is not None
    assert figure.null.value == pytest.approx(scores[NULL].mean() - scores[FIRST].mean())
    assert not figure.null.is_found
    assert one.questions == COUNT
    assert found.seen[FIRST] == {"tokens": 101, "images": 10, "samples": 5}
    assert found.seeds == {FIRST: [0, 1, 2], SECOND: [0, 1, 2], NULL: [1000, 1001, 1002]}
    assert json.loads(found.to_json()) == found.to_dict()


def test_questions_whose_right_answers_have_changed_are_refused(trainings: list[Training], task: OpenTask) -> None:
    changed = [replace(question, answers=("else",)) for question in task.questions]
    write_answers(trainings[1], replace(task, questions=changed), [True] * COUNT)
    with pytest.raises(UsageError, match=r"task planted-0shot: question .* has other right answers than"):
        score(trainings, task)


def test_questions_whose_choices_have_changed_are_refused(trainings: list[Training], task: OpenTask) -> None:
    write_answers(trainings[-1], task, [True] * COUNT, choices=("a cat", "a dog"))
    with pytest.raises(UsageError, match=r"task planted-0shot: question .* has other right answers than"):
        score(trainings, task)


def test_a_question_that_one_model_lost_is_left_out_of_all(trainings: list[Training], task: OpenTask) -> None:
    folder = Folder(str(trainings[-1].folder))
    fewer = replace(task, questions=task.questions[:-10])
    write_answers(trainings[-1], fewer, [True] * (COUNT - 10))
    assert folder.exists("predictions/planted-0shot.parquet")
    (one,) = score(trainings, task).tasks
    assert one.questions == COUNT - 10
    assert one.figures["exact_match"].by_seed[NULL][-1] == 1.0
