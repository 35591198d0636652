"""BLIP3-OCR-200M and BLIP3-GROUNDING-50M, or caption sets in their layouts: Parquet (docs/formats.md §1, §2).

`captions` is a string in both: of JSON in the one, of a Python literal in the other. The caption is chosen by its
granularity, never by its place. A grounding caption has its places written into it: where the one without the alt text
is a bare list of things, as in sets whose places were put into the alt texts, the one with it is taken. Of the other
columns only `url` is known for sure; `metadata` is kept as it stands. "Filler" such as "the text" stays: taking it out
is the trainer's part.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from curation.sources.formats.fields import (
    as_json,
    caption_image,
    json_object,
    lenient_text,
    malformed,
    trained_text,
)
from curation.sources.options import ReadOptions
from curation.sources.reader import SourceReader
from schemas.layouts import blip3_grounding, blip3_ocr
from schemas.records.caption import Caption
from schemas.records.document import CaptionDraft
from schemas.records.quarantine import Reason, Rejected
from schemas.records.uid import uid_text

COLUMNS = ("url", "captions")
OPTIONAL = ("uid", "metadata")
OPTIONAL_GROUNDING = (*OPTIONAL, "cogvlm_caption")


def read_ocr(row: Mapping[str, Any], options: ReadOptions) -> CaptionDraft:
    """The captioned image of one row of BLIP3-OCR."""
    return _read(row, options, blip3_ocr.parse_captions, _chosen)


def read_grounding(row: Mapping[str, Any], options: ReadOptions) -> CaptionDraft:
    """The captioned image of one row of BLIP3-GROUNDING."""
    return _read(row, options, blip3_grounding.parse_captions, _chosen_grounding)


def _read(
    row: Mapping[str, Any],
    options: ReadOptions,
    parse: Callable[[str], list[Caption]],
    choose: Callable[[list[Caption], int, bool], str],
) -> CaptionDraft:
    image = caption_image(row.get("url"))
    try:
        captions = parse(trained_text(row.get("captions"), "captions") or "")
    except ValueError as error:
        raise malformed(str(error)) from None
    return CaptionDraft(
        uid=uid_text(row.get("uid")),
        url=image.url,
        image=image,
        text=choose(captions, options.granularity, options.raw_caption),
        alt_text=trained_text(row.get("cogvlm_caption"), "cogvlm_caption") or "",
        captions=json.dumps([asdict(caption) for caption in captions], ensure_ascii=False),
        metadata=_metadata(row.get("metadata")),
    )


def _chosen(captions: list[Caption], granularity: int, with_raw: bool) -> str:
    for caption in captions:
        if (caption.granularity, caption.include_datacomp_raw_cap) == (granularity, with_raw):
            if text := trained_text(caption.text, "the caption"):
                return text
            break
    raw = "with" if with_raw else "without"
    raise Rejected(Reason.NO_CAPTION, f"none of granularity {granularity} {raw} the raw caption")


def _chosen_grounding(captions: list[Caption], granularity: int, with_raw: bool) -> str:
    text = _chosen(captions, granularity, with_raw)
    if with_raw or not blip3_grounding.is_bare_list(text, granularity):
        return text
    try:
        return _chosen(captions, granularity, with_raw=True)
    except Rejected:  # the set has no other
        return text


def _metadata(value: Any) -> str:
    """The column, if it is a JSON object; of the released grounding set that is not known."""
    metadata = lenient_text(value, "metadata")
    if metadata is None:
        return "{}" if value is None else as_json({"metadata": value})
    try:
        json_object(metadata, "metadata")
    except Rejected:
        return as_json({"metadata": metadata})
    return metadata


OCR_SOURCE = SourceReader("blip3-ocr", read_ocr, (".parquet",), is_captions=True, columns=COLUMNS, optional=OPTIONAL)
GROUNDING_SOURCE = SourceReader(
    "blip3-grounding", read_grounding, (".parquet",), is_captions=True, columns=COLUMNS, optional=OPTIONAL_GROUNDING
)
