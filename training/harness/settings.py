"""Translates lmms-eval's `generation_kwargs` into the options of a task of ours."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from curation.tasks.options import TaskOptions
from schemas.errors import UsageError, to_one_line
from training.model.generation.options import GenerateOptions

PromptFormat = Literal["document", "chat"]
"""How a request becomes a prompt, as in a task's `prompt.format`."""


def read_prompt_format(name: str) -> PromptFormat:
    """Returns the format of this name. Raises `UsageError` where there is none."""
    found: PromptFormat | None = next((one for one in get_args(PromptFormat) if one == name), None)
    if found is None:
        raise UsageError(f"lmms-eval: --model_args format={name}: pass {' or '.join(get_args(PromptFormat))}")
    return found


def make_task(generation: Mapping[str, Any], prompt_format: PromptFormat) -> TaskOptions:
    """Returns the task by which requests with these settings are answered; lmms-eval reads and scores the questions.

    A setting of None is as good as none. Raises `UsageError` for a temperature, since answers are not drawn, and for
    settings that are no such options.
    """
    given = {name: value for name, value in generation.items() if value is not None}
    until = given.get("until", [])
    try:
        temperature = float(given.get("temperature", 0))
        task = TaskOptions.model_validate(
            {
                "questions": {"path": "lmms-eval"},
                "metric": "exact_match",  # as any other: what it would score is scored by lmms-eval
                "prompt": {"format": prompt_format},
                "max_new_tokens": given.get("max_new_tokens", GenerateOptions().max_new_tokens),
                "stop": [text for text in ([until] if isinstance(until, str) else until) if text],
                "beams": given.get("num_beams", 1),
            }
        )
    except (ValueError, TypeError) as error:
        what = to_one_line(error)
        raise UsageError(f"lmms-eval: these generation_kwargs can't be used: {dict(generation)}: {what}") from None
    if given.get("do_sample", temperature > 0) and temperature > 0:
        raise UsageError(
            f"lmms-eval: the task draws answers at a temperature of {temperature:g}; shardloom takes the likeliest: "
            "pass --gen_kwargs do_sample=False"
        )
    return task
