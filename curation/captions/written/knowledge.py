"""Renders captions that models wrote, in the layout of BLIP3-KALE: one caption of the pass for each image.

A second caption of the pass, the dense one that it was made from, stands beside it as `cogvlm_caption`.
"""

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curation.captions.family import Columns
from curation.captions.written.named import take_captions
from curation.captions.written.one_caption import OneCaptionOptions, declare_family
from schemas.layouts.kale import kale_schema
from schemas.records.caption import Caption


class KnowledgeOptions(OneCaptionOptions):
    """Holds the options of captions in the layout of BLIP3-KALE."""

    caption_name: str = Field("knowledge", description="name of the caption, as the set's recipe calls it")
    dense_name: str | None = Field("dense", description="name of the caption that it was made from, if the set has it")


def _render(table: pa.Table, options: KnowledgeOptions, captions: pa.StringArray | None) -> Columns:
    assert captions is not None, "the options name a caption"
    if options.dense_name is None:
        dense = pa.nulls(len(captions), pa.string())
    else:
        texts = pc.struct_field(take_captions(table["captions"], options.dense_name), "text")
        dense = pc.if_else(pc.equal(texts, ""), None, texts)
    own = {name: table[name] for name in ("width", "height")}
    return own | {"alt_text": table["caption"], "cogvlm_caption": dense, "caption": captions}


def parse_caption(text: str) -> list[Caption]:
    """Returns the one caption of a row, which is its whole text. Raises `ValueError` for an empty one."""
    if not text:
        raise ValueError("the caption is empty")
    return [Caption(text, 0, include_datacomp_raw_cap=False)]


FAMILY = declare_family(
    name="knowledge",
    options=KnowledgeOptions,
    render=_render,
    schema=kale_schema,
    parse=parse_caption,
    source="kale",
    caption_column="caption",
)
