"""Defines a caption that a model wrote, with its outcome and its cost."""

from typing import Any, Literal

import pyarrow as pa

CaptionStatus = Literal["ok", "truncated", "refused", "error"]
"""How a caption ended: `truncated` at the limit of tokens, `refused` by the model or a filter, `error` without one."""

_FIELDS = [
    pa.field("text", pa.string(), nullable=False),
    pa.field("status", pa.string(), nullable=False),
    pa.field("finish_reason", pa.string()),
    pa.field("prompt_tokens", pa.int32()),
    pa.field("completion_tokens", pa.int32()),
]

UNNAMED_CAPTION = pa.struct(_FIELDS)
"""The Arrow type of a caption where its column has its name."""

MODEL_CAPTION = pa.struct([pa.field("name", pa.string(), nullable=False), *_FIELDS])
"""The Arrow type of a caption, with the name that its recipe gives it, such as `dense`."""

CAPTIONS_COLUMN = pa.field("captions", pa.list_(pa.field("item", MODEL_CAPTION, nullable=False)))
"""The annotation column that the caption engines fill: one caption for each of them, in the recipe's order."""

FAILED_CAPTION: dict[str, Any] = {"text": "", "status": "error"}
"""The value of a caption whose engine failed, without its name."""


def name_caption(name: str, value: dict[str, Any] | None) -> dict[str, Any]:
    """Returns a value of `CAPTIONS_COLUMN` from one of type `UNNAMED_CAPTION`; None stands for a failed engine."""
    return {"name": name} | (FAILED_CAPTION if value is None else value)
