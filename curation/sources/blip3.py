"""Reads BLIP3-OCR-200M, BLIP3-GROUNDING-50M and caption sets in their layouts from Parquet (docs/formats.md §1, §2).

Both sets store `captions` as a string: JSON in BLIP3-OCR, a Python literal in BLIP3-GROUNDING. The reader chooses the
caption by its granularity, never by its position in the list. The locations of a grounding caption belong inside its
sentences. In sets that wrote the locations into the alt texts, the caption without the alt text is a bare list of
objects; the reader then takes the caption with the alt text, unless it is told to take the list (`raw_caption: false`).
Of the other columns only `url` is certain to exist;
`metadata` is kept unchanged. The reader keeps "filler" such as "the text": the trainer removes it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from curation.captions.choice import choose_caption
from curation.sources.formats.fields import (
    dump_metadata,
    malformed_row_error,
    parse_json_object,
    read_caption_image,
    read_text_leniently,
    read_training_text,
)
from curation.sources.options import ReadOptions
from curation.sources.reader import SourceReader
from schemas.layouts import blip3_grounding, blip3_ocr
from schemas.records.caption import Caption
from schemas.records.document import ParsedCaptionedImage
from schemas.records.quarantine import Reason, Rejected
from schemas.records.uid import to_uid

COLUMNS = ("url", "captions")
OPTIONAL = ("uid", "metadata")
OPTIONAL_GROUNDING = (*OPTIONAL, "cogvlm_caption")


def read_ocr(row: Mapping[str, Any], options: ReadOptions) -> ParsedCaptionedImage:
    """Returns the captioned image of one row of BLIP3-OCR. Raises `Rejected`."""
    return _read_caption(row, blip3_ocr.parse_captions, options.granularity, options.raw_caption or False)


def read_grounding(row: Mapping[str, Any], options: ReadOptions) -> ParsedCaptionedImage:
    """Returns the captioned image of one row of BLIP3-GROUNDING. Raises `Rejected`."""
    return _read_caption(row, blip3_grounding.parse_captions, options.granularity, options.raw_caption)


def _read_caption(
    row: Mapping[str, Any], parse: Callable[[str], list[Caption]], granularity: int, raw_caption: bool | None
) -> ParsedCaptionedImage:
    image = read_caption_image(row.get("url"))
    try:
        captions = parse(read_training_text(row.get("captions"), "captions") or "")
    except ValueError as error:
        raise malformed_row_error(str(error)) from None
    chosen = choose_caption(captions, granularity, raw_caption)
    text = None if chosen is None else read_training_text(chosen.text, "the caption")
    if not text:
        raw = "with" if raw_caption else "without"
        raise Rejected(Reason.NO_CAPTION, f"none of granularity {granularity} {raw} the raw caption")
    return ParsedCaptionedImage(
        uid=to_uid(row.get("uid")),
        url=image.url,
        image=image,
        text=text,
        alt_text=_read_alt_text(row.get("cogvlm_caption")),
        captions=json.dumps([asdict(caption) for caption in captions], ensure_ascii=False),
        metadata=_read_metadata(row.get("metadata")),
    )


def _read_alt_text(value: Any) -> str:
    """Returns the caption that the places were written into; empty if it is not text: training reads `captions`."""
    try:
        return read_training_text(value, "cogvlm_caption") or ""
    except Rejected:
        return ""


def _read_metadata(value: Any) -> str:
    """Returns the column if it is a JSON object, else wraps it in one: the released grounding set's form is unknown."""
    metadata = read_text_leniently(value, "metadata")
    if metadata is None:
        return "{}" if value is None else dump_metadata({"metadata": value})
    try:
        parse_json_object(metadata, "metadata")
    except Rejected:
        return dump_metadata({"metadata": metadata})
    return metadata


OCR_SOURCE = SourceReader("blip3-ocr", read_ocr, (".parquet",), is_captions=True, columns=COLUMNS, optional=OPTIONAL)
GROUNDING_SOURCE = SourceReader(
    "blip3-grounding", read_grounding, (".parquet",), is_captions=True, columns=COLUMNS, optional=OPTIONAL_GROUNDING
)
