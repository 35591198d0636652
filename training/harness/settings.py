"""Translates lmms-eval's `generation_kwargs` into the options of a task of ours."""

from collections.abc import Mapping
from typing import Any, Literal

from curation.tasks.options import TaskOptions
from schemas.errors import UsageError
from training.model.generation.options import GenerateOptions

PromptFormat = Literal["document", "chat"]
"""How a request becomes a prompt, as in a task's `prompt.format`."""


def make_task(generation: Mapping[str, Any], prompt_format: PromptFormat) -> TaskOptions:
    """Returns the task by which requests with these settings are answered; lmms-eval reads and scores the questions.

    Raises `UsageError` for a temperature, since answers are not drawn, and for settings that are no such options.
    """
    temperature = float(generation.get("temperature") or 0)
    if generation.get("do_sample", temperature > 0) and temperature > 0:
        raise UsageError(
            f"lmms-eval: the task draws answers at a temperature of {temperature:g}; shardloom takes the likeliest: "
            "pass --gen_kwargs do_sample=False"
        )
    until = generation.get("until") or []
    limit = generation.get("max_new_tokens") or GenerateOptions().max_new_tokens
    try:
        return TaskOptions.model_validate(
            {
                "questions": {"path": "lmms-eval"},
                "metric": "exact_match",  # as any other: what it would score is scored by lmms-eval
                "prompt": {"format": prompt_format},
                "max_new_tokens": limit,
                "stop": [text for text in ([until] if isinstance(until, str) else until) if text],
                "beams": generation.get("num_beams") or 1,
            }
        )
    except ValueError as error:
        raise UsageError(f"lmms-eval: these generation_kwargs can't be used: {dict(generation)}: {error}") from None
