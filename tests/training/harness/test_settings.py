"""What lmms-eval's settings mean for our generation."""

from typing import Any

import pytest

from schemas.errors import UsageError
from training.harness.settings import make_task, read_prompt_format


def test_settings_of_a_usual_task() -> None:
    task = make_task(
        {
            "max_new_tokens": 16,
            "temperature": 0,
            "top_p": 1.0,
            "num_beams": 3,
            "do_sample": False,
            "until": ["\n\n", ""],
        },
        "chat",
    )
    assert (task.max_new_tokens, task.beams, task.stop, task.prompt.format) == (16, 3, ["\n\n"], "chat")
    assert (task.prompt.question, task.read_out.read(" a b\n"), task.answer_by) == ("{question}", "a b", "generation")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"until": None, "do_sample": True},
        {"temperature": 1, "do_sample": False},
        {"temperature": None, "max_new_tokens": None, "num_beams": None},
    ],
)
def test_defaults(settings: dict[str, Any]) -> None:
    task = make_task(settings, "document")
    assert (task.max_new_tokens, task.beams, task.stop, task.prompt.format) == (128, 1, [], "document")


def test_one_text_that_ends_an_answer() -> None:
    assert make_task({"until": "."}, "document").stop == ["."]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.7}, "the task draws answers at a temperature of 0.7; shardloom takes the likeliest: pass "),
        ({"temperature": 1, "do_sample": True}, "the task draws answers at a temperature of 1; "),
        ({"max_new_tokens": -1}, "these generation_kwargs can't be used: {'max_new_tokens': -1}: "),
        ({"max_new_tokens": 0}, "these generation_kwargs can't be used: {'max_new_tokens': 0}: "),
        ({"num_beams": 0}, "these generation_kwargs can't be used: {'num_beams': 0}: "),
        ({"temperature": "warm"}, "these generation_kwargs can't be used: {'temperature': 'warm'}: could not convert"),
        ({"until": 3}, "these generation_kwargs can't be used: {'until': 3}: 'int' object is not iterable"),
    ],
)
def test_what_is_not_done(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as found:
        make_task(settings, "document")
    assert str(found.value).startswith(f"lmms-eval: {message}")
    assert "\n" not in str(found.value)


def test_the_format_of_prompts() -> None:
    assert [read_prompt_format(name) for name in ("document", "chat")] == ["document", "chat"]
    with pytest.raises(UsageError, match=r"^lmms-eval: --model_args format=xml: pass document or chat$"):
        read_prompt_format("xml")
