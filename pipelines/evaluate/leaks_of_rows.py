"""Looks for the questions of stored predictions in training sets: `shardloom evaluate model --from-rows --leaks`.

The rows have the texts of the questions. Their images are read again from the files that the task named.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

from pydantic import ValidationError

from curation.scores.answers.registry import METRICS
from curation.tasks.files import find_questions
from curation.tasks.images import QuestionImages
from curation.tasks.options import QuestionSetOptions
from curation.tasks.predictions import Prediction, Predictions
from curation.tasks.question import Question, QuestionImage
from pipelines.evaluate.leaks import ComparedTask, FoundLeaks, find_leaks
from schemas.errors import StorageError, UsageError


def add_leaks(predictions: Sequence[Predictions], sets: Sequence[str]) -> list[Predictions]:
    """Returns the predictions with the samples of the training sets that show their questions.

    Predictions of one task, with several numbers of demonstrations, are compared once. Raises `UsageError` for a wrong
    set, and for questions that can't be read again.
    """
    by_questions: dict[str, list[Predictions]] = {}
    for one in predictions:
        by_questions.setdefault(_name_questions(one), []).append(one)
    tasks = [_open_task(together) for together in by_questions.values()]
    found = dict(zip(by_questions, find_leaks(tasks, sets), strict=True))
    return [_add(one, found[_name_questions(one)]) for one in predictions]


def _name_questions(one: Predictions) -> str:
    """Returns a name of a question set and a metric, on which its answers depend."""
    return json.dumps([one.about["options"]["questions"], one.metric], sort_keys=True)


def _open_task(together: Sequence[Predictions]) -> ComparedTask:
    first, metric = together[0], METRICS[together[0].metric]
    rows = {row.id: row for one in together for row in one.rows}
    try:
        options = QuestionSetOptions.model_validate(first.about["options"]["questions"])
        found = find_questions(options, metric, rows.keys())
        images = QuestionImages(options)
    except ValidationError:
        raise UsageError(f"--leaks: the questions of {first.task} are described as another version does") from None
    except (UsageError, StorageError) as error:
        raise UsageError(f"--leaks: the questions of {first.task} are read again, for their images: {error}") from None
    shown = {name: question.images for name, question in found.items()}
    return ComparedTask(metric, [_make_question(row, shown.get(row.id, ())) for row in rows.values()], images)


def _make_question(row: Prediction, images: tuple[QuestionImage, ...]) -> Question:
    return Question(row.id, row.question, images, row.answers, row.choices)


def _add(one: Predictions, found: FoundLeaks) -> Predictions:
    rows = [replace(row, leaks=tuple(found.questions[row.id])) for row in one.rows]
    return replace(one, rows=rows, about={**one.about, "leaks": found.about})
