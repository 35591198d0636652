"""Renders conversations that teach a model to caption: a prompt about an image, answered by a caption of the pass.

The prompt is filled in by the code that fills it for a caption engine (`curation.engines.captions.prompts`), so a model
that learns from these conversations is asked with the same words when it captions.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from pydantic import Field

from curation.captions.family import Columns, PromptOptions, Renderer
from curation.captions.written.one_caption import OneCaptionOptions, declare_family
from curation.engines.captions.prompts import PromptTemplate
from schemas.layouts.llava import HUMAN, IMAGE_MARKER, MODEL, llava_schema
from schemas.records.caption import Caption


class ConversationOptions(OneCaptionOptions, PromptOptions):
    """Holds the options of conversations about images."""

    caption_name: str = Field("knowledge", description="name of the caption that is the answer")


def _render(
    table: pa.Table, _: ConversationOptions, captions: pa.StringArray | None, prompt: PromptTemplate | None = None
) -> Columns:
    assert captions is not None, "the options name a caption"
    assert prompt is not None, "the family takes a prompt"
    rows = table.select(["caption", *prompt.list_inputs()]).to_pylist()
    conversations = [
        [
            {"from": HUMAN, "value": f"{IMAGE_MARKER}\n{prompt.fill(row)}"},
            {"from": MODEL, "value": caption},
        ]
        for row, caption in zip(rows, captions.to_pylist(), strict=True)
    ]
    kind = llava_schema("", "").field("conversations").type
    return {"id": table["uid"], "image": table["url"], "conversations": pa.array(conversations, kind)}


def _use_prompt(prompt: PromptTemplate) -> Renderer:
    return partial(_render, prompt=prompt)


def parse_conversation(turns: Sequence[dict[str, Any]]) -> list[Caption]:
    """Returns a conversation as one text, for `render --preview`."""
    return [Caption("\n".join(turn["value"] for turn in turns), 0, include_datacomp_raw_cap=False)]


FAMILY = declare_family(
    name="conversations",
    options=ConversationOptions,
    render=_render,
    schema=llava_schema,
    parse=parse_conversation,
    source="captioner",
    caption_column="conversations",
    ingested_as="llava",
    needs_url=True,
    use_prompt=_use_prompt,
)
