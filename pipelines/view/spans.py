"""Cuts a text into pieces by the spans that shapes or claims have in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipelines.view.page import MAX_TEXT, Piece, describe_rest


@dataclass(frozen=True, slots=True)
class Span:
    """Holds what `text[start:end]` is about: shapes of the picture, or a claim with its status."""

    start: int
    end: int
    shapes: tuple[int, ...] = ()
    status: str = ""
    note: str = ""


def cut_text(text: str, spans: Sequence[Span]) -> tuple[Piece, ...]:
    """Returns the text as pieces, each with all shapes of the spans over it, and the status of the last of them.

    Spans may overlap. One that leaves the text, or is empty, is passed over: a set may hold any numbers. What is behind
    `MAX_TEXT` is left out.
    """
    whole, text = text, text[:MAX_TEXT]
    good = [span for span in spans if 0 <= span.start < span.end <= len(text)]
    bounds = sorted({0, len(text), *(span.start for span in good), *(span.end for span in good)})
    pieces = []
    for start, end in pairwise(bounds):
        over = [span for span in good if span.start <= start and end <= span.end]
        shapes = tuple(dict.fromkeys(number for span in over for number in span.shapes))
        stated = [span for span in over if span.status]
        notes = "; ".join(dict.fromkeys(span.note for span in over if span.note))
        pieces.append(Piece(text[start:end], shapes, stated[-1].status if stated else "", notes))
    return (*pieces, *describe_rest(whole))
