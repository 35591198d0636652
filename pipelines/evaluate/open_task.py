"""Reads the questions and demonstrations that a task names."""

import random
from dataclasses import dataclass

from curation.scores.answers.registry import METRICS
from curation.tasks.demonstrations import Demonstrations
from curation.tasks.files import QuestionSet, read_question_set
from curation.tasks.images import QuestionImages
from curation.tasks.options import TaskOptions
from curation.tasks.question import Question
from pipelines.evaluate.judge import Judge
from training.evaluation.predict import DemonstrationSet


@dataclass(frozen=True, slots=True)
class OpenTask:
    """Holds a task with the questions and demonstrations that were read for it."""

    options: TaskOptions
    found: QuestionSet
    questions: list[Question]
    images: QuestionImages
    demonstrations: DemonstrationSet | None
    judge: Judge | None


def open_task(task: TaskOptions) -> OpenTask:
    """Reads all that a task names, but no images. Raises `UsageError`."""
    metric = METRICS[task.metric]
    found = read_question_set(task.questions, metric)
    questions = found.questions
    if task.limit is not None and task.limit < len(questions):
        chosen = sorted(random.Random(task.seed).sample(range(len(questions)), task.limit))
        questions = [questions[at] for at in chosen]
    demonstrations = None
    if (source := task.demonstrations) is not None:
        pool = read_question_set(source.questions, metric).questions
        drawer = Demonstrations(pool, source.pool, source.seed)
        demonstrations = DemonstrationSet(drawer, QuestionImages(source.questions))
    judge = None if task.judge is None else Judge(task.name, task.judge)
    return OpenTask(task, found, questions, QuestionImages(task.questions), demonstrations, judge)
