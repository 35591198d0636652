"""Applies a source's rule to the text of a stored sample: strips fillers, chooses one of several captions."""

import hashlib
from typing import Any

from curation.captions.choice import is_bare_list
from curation.captions.filler import strip_filler
from schemas.json_text import MAX_JSON, parse_json, parse_object
from schemas.records.captioned_image import CaptionedImage
from schemas.records.document import Document
from schemas.records.training_text import BOM
from training.data.options import SourceTextOptions


def select_parts(record: CaptionedImage | Document, rule: SourceTextOptions, seed: int) -> list[str | int] | None:
    """Returns the texts to train on and the images' numbers, in order.

    None means that the image has none of the captions that the rule asks for. An image with an empty caption is the
    only part.
    """
    if isinstance(record, CaptionedImage):
        text = select_caption(record.key, record.text, record.alt_text, record.captions, rule, seed)
        return None if text is None else [0, text] if text else [0]
    alt_text = read_alt_text(record.metadata) if rule.strip_filler else ""
    return [clean_document_text(part, alt_text, rule) if isinstance(part, str) else part for part in record.parts]


def select_caption(key: str, text: str, alt_text: str, captions: str, rule: SourceTextOptions, seed: int) -> str | None:
    """Returns the caption of an image with these fields, or None if it has no caption of the kinds asked for.

    The hash of seed and key chooses among several, so that a sample reads the same wherever it appears, and another
    seed may choose another caption.
    """
    if rule.granularities is not None or rule.raw_caption is not None:
        entries = [entry for entry in _parse_entries(captions) if _is_selected(entry, rule)]
        if rule.raw_caption is None:
            entries = [entry for entry in entries if not _is_bare_list(entry)] or entries
        if not entries:
            return None
        digest = hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=8).digest()
        text = _get_text(entries[int.from_bytes(digest, "little") % len(entries)])
    return strip_filler(text, alt_text) if rule.strip_filler else text


def clean_document_text(text: str, alt_text: str, rule: SourceTextOptions) -> str:
    """Applies the rule to one text of a document; `alt_text` is the image's, which the text may begin with."""
    return strip_filler(text, alt_text) if rule.strip_filler else text


def read_alt_text(metadata: str) -> str:
    """Returns the alt text of a captioned image that a Parquet mixture stores as a document; empty for any other."""
    try:
        found = parse_object(metadata, "it", MAX_JSON).get("alt_text")
    except ValueError:
        return ""
    return found if isinstance(found, str) else ""


def _parse_entries(captions: str) -> list[dict[str, Any]]:
    try:
        found = parse_json(captions, "captions", MAX_JSON)
    except ValueError:
        return []
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _is_selected(entry: dict[str, Any], rule: SourceTextOptions) -> bool:
    if rule.granularities is not None and entry.get("granularity") not in rule.granularities:
        return False
    return rule.raw_caption is None or bool(entry.get("include_datacomp_raw_cap")) == rule.raw_caption


def _is_bare_list(entry: dict[str, Any]) -> bool:
    granularity = entry.get("granularity")
    return isinstance(granularity, int) and is_bare_list(_get_text(entry), granularity)


def _get_text(entry: dict[str, Any]) -> str:
    return str(entry.get("text", "")).lstrip(BOM)  # sets of older versions may have one
