"""Reads ShareGPT4V's captions, which are conversations in LLaVA's layout with one request and one caption each.

The files are `sharegpt4v_instruct_gpt4-vision_cap100k.json` (written by GPT-4V) and
`share-captioner_coco_lcs_sam_1246k_1107.json`, of Hugging Face's Lin-Chen/ShareGPT4V. `image` is a path below an image
root: `coco/train2017/...`, `sam/images/...`, `llava/llava_pretrain/images/...`, `wikiart/images/...`. The third file,
`sharegpt4v_mix665k_...json`, is a whole mixture of instructions: the source `llava` reads it.
"""

from typing import Any

from curation.sources import llava
from curation.sources.formats.fields import malformed_row_error
from curation.sources.formats.json_list import find_entry_offsets, read_entries
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedDocument
from schemas.records.quarantine import Reason, Rejected


def read(item: Any) -> ParsedDocument:
    """Returns the conversation of one object. Raises `Rejected` for one that is not a caption of one image."""
    parsed = llava.read(item)
    if not parsed.images:
        raise Rejected(Reason.MISSING_IMAGE, "there is no image")
    answers = [role for role in parsed.roles or () if role in ("assistant", "context")]
    if len(parsed.images) > 1 or len(answers) > 1:
        raise malformed_row_error(
            f"{len(parsed.images)} images and {len(answers)} answers, where a caption has one each: is it of `llava`?"
        )
    return parsed


SOURCE = SourceReader(
    "sharegpt4v",
    ignore_options(read),
    (".json", ".jsonl", ".parquet"),
    optional=None,
    items=read_entries,
    offsets=find_entry_offsets,
)
