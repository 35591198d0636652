"""A family of captions of one's own: how many lines of text an image has, as "3 lines of text".

shardloom render line-counts annotations --output counted --trust-code line_counts:LINE_COUNTS
shardloom shard --images 'shards/*.tar' --captions counted --output training --trust-code line_counts:LINE_COUNTS
"""

import json
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, PositiveInt

from curation.captions.atoms import get_raw_flags
from curation.captions.family import CaptionFamily, CaptionOptions, Columns, ItemThreshold
from schemas.layouts.blip3_ocr import blip3_ocr_schema
from schemas.records.quarantine import Reason


class LineCountOptions(CaptionOptions):
    """What may be asked for. Granularity 0 counts, granularity 1 says only whether there is more than one line."""

    granularities: list[Annotated[int, Field(ge=0, le=1)]] = Field([0, 1], min_length=1)
    min_confidence: float = Field(0.0, ge=0, le=1)
    min_lines: PositiveInt = 1
    noun: str = "line"


def count_lines(table: pa.Table, options: LineCountOptions, _: pa.StringArray | None) -> Columns:
    """Words the captions of a batch."""
    counts = pc.fill_null(pc.list_value_length(table["ocr"]), 0).to_pylist()
    captions = []
    for count, raw in zip(counts, table["caption"].to_pylist(), strict=True):
        texts = [f"{count} {options.noun}{'s' * (count != 1)} of text", "much text" if count > 1 else "little text"]
        captions.append(
            [
                {
                    "text": f"{raw}. {texts[number]}" if with_raw else texts[number],
                    "granularity": number,
                    "include_datacomp_raw_cap": with_raw,
                }
                for with_raw in get_raw_flags(options.raw_caption)
                for number in sorted(set(options.granularities))
            ]
        )
    metadata = [json.dumps({"entries": [], "length": count}) for count in counts]
    return {"captions": pa.array(map(json.dumps, captions), pa.string()), "metadata": pa.array(metadata, pa.string())}


def layout(revision: str, _: str) -> pa.Schema:
    """Lays the columns out as BLIP3-OCR's are."""
    return blip3_ocr_schema(revision).with_metadata({"template_version": "1", "source_revision": revision})


LINE_COUNTS = CaptionFamily(
    name="line-counts",
    column="ocr",
    columns=("ocr",),
    granularities=range(2),
    threshold=ItemThreshold(
        "lines",
        "confidence",
        min_score_option="min_confidence",
        min_count_option="min_lines",
        reason=Reason.TOO_FEW_LINES,
    ),
    options=LineCountOptions,
    render=count_lines,
    schema=layout,
    source="line-counts",
)
