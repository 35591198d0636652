"""The families of captions: what they tell of, and how their published layouts hold them."""

from collections.abc import Callable
from typing import Literal

from schemas.layouts import blip3_grounding, blip3_ocr
from schemas.records.caption import Caption

Family = Literal["ocr", "grounding"]

GRANULARITIES: dict[Family, range] = {"ocr": blip3_ocr.GRANULARITIES, "grounding": blip3_grounding.GRANULARITIES}

PARSERS: dict[Family, Callable[[str], list[Caption]]] = {
    "ocr": blip3_ocr.parse_captions,
    "grounding": blip3_grounding.parse_captions,
}
