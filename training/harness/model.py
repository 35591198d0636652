"""Answers the requests of lmms-eval as `evaluate model` answers questions, with the same prompts and generation."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lmms_eval.api.instance import GenerationResult, TokenCounts
from lmms_eval.api.model import lmms

from curation.tasks.images import QuestionImages
from curation.tasks.options import TaskOptions
from curation.tasks.predictions import Prediction
from schemas.errors import UsageError
from schemas.log import LOG
from schemas.records.quarantine import QuarantinedRow
from training.checkpoint_model import load_model
from training.evaluation.model_folder import find_model_folder
from training.evaluation.predict import Predictor
from training.harness.pictures import make_question
from training.harness.settings import make_task, read_prompt_format
from training.inference import move_to_device, resolve_device


class ShardloomModel(lmms):  # type: ignore[misc]  # lmms-eval is in an environment of its own
    """Lets a run, an export or a checkpoint answer; `--model_args pretrained=FOLDER,format=chat`."""

    is_simple = True

    def __init__(
        self,
        pretrained: str,
        batch_size: int | str = 1,
        device: str | None = None,
        format: str = "document",
        **others: Any,
    ) -> None:
        """Loads the model, on a GPU in bf16. Raises `UsageError` for a folder that is no model, and unknown arguments.

        `device` is cpu, cuda or auto; under torchrun each process takes the GPU of its local rank.
        """
        super().__init__()
        others.pop("max_batch_size", None)
        if others:
            raise UsageError(f"lmms-eval: --model_args: shardloom has no {', '.join(sorted(others))}")
        if not str(batch_size).isdecimal() or int(batch_size) < 1:
            raise UsageError(f"lmms-eval: --batch_size {batch_size}: pass a number, 1 or more")
        self.batch_size, self._format = int(batch_size), read_prompt_format(format)
        place = resolve_device("cpu" if device == "cpu" else "auto" if device in (None, "auto") else "cuda")
        if place == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        self._loaded = load_model(find_model_folder(str(pretrained)))
        self.device = move_to_device(self._loaded.model, place).device

    def generate_until(self, requests: Sequence[Any]) -> list[GenerationResult]:
        """Returns an answer to each request; an empty one where the model can't take the prompt, or an image."""
        found: list[GenerationResult] = [GenerationResult("")] * len(requests)
        for task, places in self._group(requests):
            predictor = Predictor(self._loaded, task, QuestionImages(task.questions), None)
            for start in range(0, len(places), self.batch_size):
                batch = {str(place): requests[place] for place in places[start : start + self.batch_size]}
                for row in self._answer(predictor, batch):
                    found[int(row.id)] = _to_result(row)
                    context, generation, *_ = batch[row.id].args
                    self.cache_hook.add_partial("generate_until", (context, generation), found[int(row.id)].text)
        return found

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Raises `UsageError`: choices are judged by a task file's `answer_by: perplexity`."""
        raise UsageError("lmms-eval: shardloom generates answers; judge choices by `shardloom evaluate model`")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Raises `UsageError`: a request has one round."""
        raise UsageError("lmms-eval: shardloom answers in one round; choose a task of output_type generate_until")

    def _group(self, requests: Sequence[Any]) -> list[tuple[TaskOptions, list[int]]]:
        """Returns the numbers of the requests that are answered alike, in their order."""
        places: dict[str, list[int]] = defaultdict(list)
        tasks: dict[str, TaskOptions] = {}
        for place, request in enumerate(requests):
            task = make_task(request.args[1], self._format)
            key = task.model_dump_json()
            tasks[key] = task
            places[key].append(place)
        return [(tasks[key], numbers) for key, numbers in places.items()]

    def _answer(self, predictor: Predictor, batch: Mapping[str, Any]) -> list[Prediction]:
        """Returns the predictions of a batch, and says which requests have none."""
        questions = []
        for name, request in batch.items():
            context, _, doc_to_visual, doc_id, task, split = request.args
            questions.append(make_question(name, context, doc_to_visual(self.task_dict[task][split][doc_id])))
        rows = []
        for row in predictor.predict(questions, 0, len(questions)):
            if isinstance(row, QuarantinedRow):
                LOG.warning(f"lmms-eval: no answer, because an image can't be used: {row.reason}: {row.detail}")
                continue
            if row.error:
                LOG.warning(f"lmms-eval: no answer: {row.error}")
            rows.append(row)
        return rows


def _to_result(row: Prediction) -> GenerationResult:
    return GenerationResult(row.generated, TokenCounts(input_tokens=row.prompt_tokens, output_tokens=row.tokens))
