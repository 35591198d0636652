"""Names the stages of a run that engines make: `ocr`, `tags`, `boxes`, and one for each caption, `captions.NAME`."""

from typing import cast

import pyarrow as pa

from curation.engines.kinds import CAPTIONS, KINDS, EngineKind
from schemas.records.model_caption import UNNAMED_CAPTION

StageName = str
"""The name of an engine's stage: its kind, and for a caption its name after a point."""


def make_caption_stage(name: str) -> StageName:
    """Returns the stage of the caption with this name."""
    return f"{CAPTIONS.name}.{name}"


def get_kind(stage: StageName) -> EngineKind:
    """Returns the kind of the stage's engine."""
    return cast(EngineKind, stage.partition(".")[0])


def get_caption_name(stage: StageName) -> str | None:
    """Returns the name of the stage's caption; None for a stage of another kind."""
    return stage.partition(".")[2] or None


def get_stage_column(stage: StageName) -> pa.Field:
    """Returns the column that the stage adds to a chunk. A finished chunk has all captions in one column."""
    return pa.field(stage, UNNAMED_CAPTION) if get_caption_name(stage) else KINDS[get_kind(stage)].column
