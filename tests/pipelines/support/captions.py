"""Annotation sets with captions that models wrote, made on the spot, without a server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from curation.engines.stages import StageName, get_stage_column, make_caption_stage
from tests.pipelines.support.sets import annotated

Write = Callable[[str], dict[str, Any] | None]
"""The caption of the image with a key; None where its engine has failed."""


def written(text: str, status: str = "ok", finish_reason: str = "stop") -> dict[str, Any]:
    """A caption as its engine answers, without its name."""
    tokens = {"prompt_tokens": 100, "completion_tokens": 10}
    return {"text": text, "status": status, "finish_reason": finish_reason} | tokens


def captioned(
    images: str, output: Path, captions: dict[str, Write], found: dict[StageName, Callable[[str], Any]] | None = None
) -> Path:
    """What `shardloom annotate` writes with these captions by name, and what other engines have found."""
    stages = (found or {}) | {make_caption_stage(name): write for name, write in captions.items()}
    return annotated(images, output, {stage: (get_stage_column(stage), values) for stage, values in stages.items()})
