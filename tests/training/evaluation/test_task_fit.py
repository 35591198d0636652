"""A task that a model can't be asked is refused by the options of both."""

from pathlib import Path
from typing import Any

import pytest

from curation.tasks.options import TaskOptions
from schemas.errors import UsageError
from tests.training.support import tiny
from training.evaluation.task_fit import check_task
from training.model.config import PromptOptions

FAULT = PromptOptions(template_fault="it has tools")
THUMBNAILS = {"demonstrations": {"questions": {"path": "x.jsonl"}, "full_resolution": 1}, "shots": [1]}
CHAT = {"prompt": {"format": "chat"}}


def task(**changes: Any) -> TaskOptions:
    return TaskOptions.model_validate({"questions": {"path": "x.jsonl"}, "metric": "exact_match"} | changes)


def test_what_fits(tokenizer: Path) -> None:
    one, tiles, none = (
        tiny.options(tokenizer, **changes) for changes in ({}, {"any_resolution": {"enabled": True}}, {"vision": None})
    )
    check_task(task(**CHAT), one, PromptOptions(), has_images=True)
    check_task(task(), one, FAULT, has_images=True)
    check_task(task(**THUMBNAILS), tiles, PromptOptions(), has_images=True)
    check_task(task(), none, PromptOptions())


@pytest.mark.parametrize(
    ("changes", "model", "message"),
    [
        (CHAT, {}, "prompt.format: this model was trained on no conversations; set it to document"),
        (
            THUMBNAILS,
            {},
            "demonstrations.full_resolution: this model sees each image in one tile, so that there is no ",
        ),
        ({}, {"vision": None}, "evaluate: this model has no vision tower and takes no images; give it texts alone"),
    ],
)
def test_what_does_not(tokenizer: Path, changes: dict[str, Any], model: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_task(task(**changes), tiny.options(tokenizer, **model), FAULT, has_images=True)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("wrong", [{"stop": [""]}, {"read_out": {"cut_at": [""]}}])
def test_no_empty_text_ends_an_answer(wrong: dict[str, Any]) -> None:
    """It would end each before its first letter."""
    with pytest.raises(ValueError, match=r"stop\.0|read_out\.cut_at\.0"):
        task(**wrong)
