"""Answers the questions of a task in batches, and yields a prediction for each.

A question that the model cannot take, because its prompt is too long, counts as answered by nothing: to leave it out
would flatter the model. A question whose image cannot be used is quarantined.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from curation.scores.answers.choice import LETTERS
from curation.tasks.demonstrations import Demonstrations
from curation.tasks.images import QuestionImages
from curation.tasks.options import TaskOptions
from curation.tasks.predictions import Prediction
from curation.tasks.prompts import QuestionPrompter, Shot
from curation.tasks.question import IMAGE_MARKER, Question
from schemas.errors import UsageError, to_one_line
from schemas.records.quarantine import QuarantinedRow, Rejected
from training.checkpoint_model import LoadedModel
from training.data.chat import ChatTemplate
from training.evaluation.choices import compute_choice_losses
from training.evaluation.prompts import DecodedShot, format_chat, format_document
from training.evaluation.task_fit import check_task, make_no_tower_error
from training.inference import decode_for_model
from training.model.generate import GenerateOptions, Prompt, answer_batch

STAGE = "predict"


@dataclass(frozen=True, slots=True)
class DemonstrationSet:
    """Holds what few-shot prompts are drawn from."""

    drawer: Demonstrations
    images: QuestionImages


@dataclass(frozen=True, slots=True)
class _Asked:
    """Holds a question's prompt, and the row to which its answer is added."""

    question: Question
    prompt: Prompt
    row: Prediction


class Predictor:
    """Lets one model answer the questions of one task."""

    def __init__(
        self, loaded: LoadedModel, task: TaskOptions, images: QuestionImages, demonstrations: DemonstrationSet | None
    ) -> None:
        """Takes a model on its device.

        Raises `UsageError` for a chat with a model that was trained on none, and for demonstrations as thumbnails with
        one that has no other resolution.
        """
        self._loaded, self._task, self._images, self._demonstrations = loaded, task, images, demonstrations
        self._prompter = QuestionPrompter(task.prompt, shows_choice_text=task.answer_by == "perplexity")
        self._options = GenerateOptions(max_new_tokens=task.max_new_tokens, stop=tuple(task.stop), beams=task.beams)
        self._full_resolution = None if task.demonstrations is None else task.demonstrations.full_resolution
        check_task(task, loaded.model.options, loaded.prompts)
        self._closing: Sequence[int] = ()
        self.lost_demonstrations: set[str] = set()
        """The ids of demonstrations whose images could not be used: others were drawn in their place."""
        if task.prompt.format == "chat":
            self._closing = ChatTemplate.from_prompts(loaded.tokenizer, loaded.prompts).find_closing("assistant")

    def predict(
        self, questions: Sequence[Question], shots: int, batch_size: int
    ) -> Iterator[Prediction | QuarantinedRow]:
        """Yields a prediction for each question, in order, with `shots` demonstrations before it."""
        for start in range(0, len(questions), batch_size):
            asked: list[_Asked] = []
            for question in questions[start : start + batch_size]:
                try:
                    asked.append(self._ask(question, shots))
                except Rejected as fault:
                    yield QuarantinedRow.from_rejected(question.id, None, STAGE, fault)
            yield from self._answer(asked)

    def build_prompt(self, question: Question, shots: int) -> tuple[Prompt, list[str]]:
        """Returns the prompt, and the ids of its demonstrations.

        Raises `Rejected` for an image of the question that can't be used, and `UsageError` for too few demonstrations.
        """
        drawn = list(self._draw(question, shots or self._task.prompt.text_only_shots, with_images=shots > 0))
        shown = [shot for _, shot in drawn]
        own = self._decode(self._prompter.build_question(question), self._images)
        form = format_chat if self._task.prompt.format == "chat" else format_document
        prompt = form([*shown, own], self._loaded.tokenizer, self._loaded.prompts)
        return prompt, [one.id for one, _ in drawn]

    def _draw(self, question: Question, wanted: int, with_images: bool) -> Iterator[tuple[Question, DecodedShot]]:
        """Yields demonstrations, the first as thumbnails if the task asks for it.

        One whose images can't be used is passed over.
        """
        if not wanted or self._demonstrations is None:
            return
        found, thumbnails = 0, 0 if self._full_resolution is None else wanted - self._full_resolution
        for one in self._demonstrations.drawer.draw(question.id):
            shot = self._prompter.build_demonstration(one, with_images)
            try:
                yield one, self._decode(shot, self._demonstrations.images, as_thumbnails=found < thumbnails)
            except Rejected:
                self.lost_demonstrations.add(one.id)
                continue
            found += 1
            if found == wanted:
                return
        raise UsageError(f"demonstrations: {found} can be used; {wanted} shots need more questions to draw from")

    def _decode(self, shot: Shot, images: QuestionImages, as_thumbnails: bool = False) -> DecodedShot:
        model = self._loaded.model
        if model.options.vision is None and any(not isinstance(part, str) for part in shot.question):
            raise make_no_tower_error()
        return DecodedShot(
            [
                part
                if isinstance(part, str)
                else decode_for_model(images.read(part), model.options, model.vision.image_size, as_thumbnails)
                for part in shot.question
            ],
            shot.answer,
        )

    def _ask(self, question: Question, shots: int) -> _Asked:
        prompt, demonstrations = self.build_prompt(question, shots)
        row = Prediction(
            id=question.id,
            question=question.text,
            answers=question.answers,
            choices=question.choices,
            group=question.group,
            category=question.category,
            demonstrations=tuple(demonstrations),
        )
        return _Asked(question, prompt, row)

    def _answer(self, asked: Sequence[_Asked]) -> list[Prediction]:
        """Answers a batch; when it can't be taken, each question by itself."""
        if not asked:
            return []
        try:
            if self._task.answer_by == "perplexity":
                return [self._judge_choices(one) for one in asked]
            return self._generate(asked)
        except UsageError as error:  # of the longest prompt; nothing is computed yet
            if len(asked) == 1:
                return [replace(asked[0].row, error=to_one_line(error))]
            return [row for one in asked for row in self._answer([one])]

    def _generate(self, asked: Sequence[_Asked]) -> list[Prediction]:
        loaded = self._loaded
        prompts = [one.prompt for one in asked]
        answers = answer_batch(loaded.model, loaded.tokenizer, prompts, self._options, self._closing)
        return [
            replace(
                one.row,
                generated=answer.text,
                prediction=self._task.read_out.read(answer.text),
                is_complete=answer.is_complete,
                prompt_tokens=answer.prompt_tokens,
                tokens=answer.tokens,
            )
            for one, answer in zip(asked, answers, strict=True)
        ]

    def _judge_choices(self, one: _Asked) -> Prediction:
        loaded, choices = self._loaded, self._prompter.render_choices(one.question)
        if any(IMAGE_MARKER in choice for choice in one.question.choices):
            raise UsageError("evaluate: its choices are images, whose perplexity the model does not give")
        losses = compute_choice_losses(loaded.model, loaded.tokenizer, one.prompt, choices)
        if not np.isfinite(losses).all():
            raise UsageError("evaluate: the model gives a choice no finite loss")
        letter = LETTERS[int(np.argmin(losses))]
        return replace(one.row, prediction=letter, is_complete=True, choice_losses=tuple(losses))
