"""Reads the questions and demonstrations that a task names."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from curation.scores.answers.registry import METRICS
from curation.tasks.demonstrations import Demonstrations
from curation.tasks.files import QuestionSet, read_question_set
from curation.tasks.images import QuestionImages
from curation.tasks.options import TaskOptions
from curation.tasks.prompts import QuestionPrompter
from curation.tasks.question import Question
from pipelines.evaluate.judge import Judge
from schemas.log import LOG
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

    def count_left_out(self) -> dict[str, int]:
        """Returns the number of rows that the task does not ask for, by what leaves them out."""
        counts = {"other_splits": self.found.other_splits, "limit": len(self.found.questions) - len(self.questions)}
        return {name: count for name, count in counts.items() if count}


def open_task(task: TaskOptions) -> OpenTask:
    """Reads all that a task names, but no images. Raises `UsageError`."""
    metric = METRICS[task.metric]
    found = read_question_set(task.questions, metric)
    questions = found.questions
    if task.limit is not None and task.limit < len(questions):
        questions = draw_questions(questions, task.limit, task.seed)
    prompter = QuestionPrompter(task.prompt)
    for question in questions:  # raises for places without images before a model is loaded
        prompter.build_question(question)
    demonstrations = None
    if (source := task.demonstrations) is not None:
        pool = read_question_set(source.questions, metric)
        if pool.quarantined:
            LOG.warning(
                f"evaluate {task.name}: {len(pool.quarantined):,} rows of demonstrations.questions are no questions, "
                f"the first because {pool.quarantined[0].detail}"
            )
        drawer = Demonstrations(pool.questions, source.pool, source.seed)
        demonstrations = DemonstrationSet(drawer, QuestionImages(source.questions))
    judge = None if task.judge is None else Judge(task.name, task.judge)
    return OpenTask(task, found, questions, QuestionImages(task.questions), demonstrations, judge)


def draw_questions(questions: Sequence[Question], limit: int, seed: int) -> list[Question]:
    """Returns at most `limit` random questions, in order.

    Questions of one group, such as all rotations of a question's choices, are drawn together: apart they would flatter
    the model. If the first group drawn is larger than the limit, it is taken alone.
    """
    groups: dict[str | int, list[int]] = {}
    for number, question in enumerate(questions):
        groups.setdefault(question.group or number, []).append(number)
    if len(groups) == len(questions):
        return [questions[number] for number in sorted(random.Random(seed).sample(range(len(questions)), limit))]
    chosen: list[int] = []
    for group in random.Random(seed).sample(list(groups.values()), len(groups)):
        if chosen and len(chosen) + len(group) > limit:
            break
        chosen += group
    return [questions[number] for number in sorted(chosen)]
