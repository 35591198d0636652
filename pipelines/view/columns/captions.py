"""Shows the captions that models wrote, with their claims coloured by what the annotations say of them."""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from curation.faithfulness.check import check_caption
from curation.faithfulness.claims import Basis, Claim, ClaimKind
from curation.faithfulness.evidence import collect_evidence
from pipelines.view.charts import draw_bars
from pipelines.view.columns.declaration import ColumnView, Row, Shapes
from pipelines.view.page import Block, Chart, Piece, Text, TextGroup
from pipelines.view.spans import Span, cut_text
from schemas.records.box import BOXES_COLUMN
from schemas.records.model_caption import CAPTIONS_COLUMN
from schemas.records.text_line import OCR_COLUMN

NAME = CAPTIONS_COLUMN.name
MAX_CHECKED = 20_000  # characters of a caption whose claims are looked for: a model writes a tenth of it


def describe(row: Row, shapes: Shapes) -> list[Block]:
    """Returns the captions, each with its claims as `evaluate captions` finds them."""
    texts = [
        Text(one["name"], mark_claims(one["text"], row, shapes, with_alt_text=True), _describe_status(one))
        for one in row[NAME] or ()
    ]
    return [TextGroup("Captions by models", tuple(texts))] if texts else []


def mark_claims(text: str, row: Row, shapes: Shapes, *, with_alt_text: bool) -> tuple[Piece, ...]:
    """Cuts a caption at its claims. `with_alt_text` is False where the alt text itself is checked."""
    if len(text) > MAX_CHECKED:
        return cut_text(text, ())
    claims = check_caption(text, collect_evidence(row, with_alt_text))
    return cut_text(text, [_make_span(claim, text, shapes) for claim in claims])


def chart(rows: pa.Table) -> list[Chart]:
    """Returns how the captions ended, by name."""
    captions = rows[NAME].combine_chunks().flatten()
    names, ends = (pc.struct_field(captions, name).to_pylist() for name in ("name", "status"))
    return draw_bars(
        "Captions by models", Counter(f"{name}: {status}" for name, status in zip(names, ends, strict=True))
    )


def _describe_status(caption: Row) -> str:
    tokens = caption.get("completion_tokens")
    return caption["status"] + ("" if tokens is None else f", {tokens} tokens")


def _make_span(claim: Claim, text: str, shapes: Shapes) -> Span:
    """Returns a claim's span, tied to the shapes that have its words."""
    words = text[claim.start : claim.end].casefold()
    if claim.kind is ClaimKind.QUOTE:
        quoted = words[1:-1]
        found = [one for one in shapes.get(OCR_COLUMN.name, ()) if one.label and one.label.casefold() in quoted]
    else:
        found = [one for one in shapes.get(BOXES_COLUMN.name, ()) if one.label and one.label.casefold() in words]
    basis = f" by {claim.basis.replace('_', ' ')}" if isinstance(claim.basis, Basis) else ""
    note = f"{claim.kind}: {claim.status}{basis}" + (f" ({claim.detail})" if claim.detail else "")
    return Span(claim.start, claim.end, tuple(one.number for one in found), claim.status.value, note)


VIEW = ColumnView(column=NAME, order=4, describe=describe, chart=chart)
