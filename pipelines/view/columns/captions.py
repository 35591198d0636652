"""Shows the captions that models wrote, with their claims coloured by what the annotations say of them."""

import re
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from curation.faithfulness.check import check_caption
from curation.faithfulness.claims import Basis, Claim, ClaimKind
from curation.faithfulness.evidence import collect_evidence
from pipelines.view.charts import draw_bars
from pipelines.view.columns.declaration import ColumnView, Row, Shapes
from pipelines.view.page import MAX_TEXT, Block, Chart, Piece, Text, TextGroup
from pipelines.view.spans import Span, cut_text
from schemas.records.box import BOXES_COLUMN
from schemas.records.model_caption import CAPTIONS_COLUMN
from schemas.records.text_line import OCR_COLUMN

NAME = CAPTIONS_COLUMN.name


def describe(row: Row, shapes: Shapes) -> list[Block]:
    """Returns the captions, each with its claims as `evaluate captions` finds them."""
    texts = [
        Text(one["name"], mark_claims(one["text"], row, shapes, with_alt_text=True), _describe_status(one))
        for one in row[NAME] or ()
    ]
    return [TextGroup("Captions by models", tuple(texts))] if texts else []


def mark_claims(text: str, row: Row, shapes: Shapes, *, with_alt_text: bool) -> tuple[Piece, ...]:
    """Cuts a caption at its claims. `with_alt_text` is False where the alt text itself is checked."""
    return cut_text(text, find_claims(text, row, shapes, with_alt_text=with_alt_text))


def find_claims(text: str, row: Row, shapes: Shapes, *, with_alt_text: bool) -> list[Span]:
    """Returns the spans of a caption's claims, with their statuses; none of a text that is too long to be shown."""
    if len(text) > MAX_TEXT:  # ten times what a model writes
        return []
    claims = check_caption(text, collect_evidence(row, with_alt_text))
    return [_make_span(claim, text, shapes) for claim in claims]


def chart(rows: pa.Table) -> list[Chart]:
    """Returns how the captions ended, by name."""
    captions = rows[NAME].combine_chunks().flatten()
    names, ends = (pc.struct_field(captions, name).to_pylist() for name in ("name", "status"))
    return draw_bars(
        "Captions by models", Counter(f"{name}: {status}" for name, status in zip(names, ends, strict=True))
    )


def _describe_status(caption: Row) -> str:
    tokens = caption.get("completion_tokens")
    return f"{caption['status']}{'' if tokens is None else f', {tokens} tokens'}"


def _make_span(claim: Claim, text: str, shapes: Shapes) -> Span:
    """Returns a claim's span, tied to the shapes that have its words."""
    words = text[claim.start : claim.end].casefold()
    layer = OCR_COLUMN.name if claim.kind is ClaimKind.QUOTE else BOXES_COLUMN.name
    found = [one for one in shapes.get(layer, ()) if _has_word(words, one.label.casefold())]
    basis = f" by {claim.basis.replace('_', ' ')}" if isinstance(claim.basis, Basis) else ""
    note = f"{claim.kind}: {claim.status}{basis}" + (f" ({claim.detail})" if claim.detail else "")
    return Span(claim.start, claim.end, tuple(one.number for one in found), claim.status.value, note)


def _has_word(words: str, label: str) -> bool:
    """Returns whether a label begins a word: `dogs` has `dog`, and `scarf` has no `car`."""
    return bool(label) and re.search(rf"(?<!\w){re.escape(label)}", words) is not None


VIEW = ColumnView(column=NAME, order=4, describe=describe, chart=chart)
