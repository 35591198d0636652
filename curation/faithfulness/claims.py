"""Defines what a caption claims about its image, and what the annotations say about that."""

from dataclasses import dataclass
from enum import StrEnum


class ClaimKind(StrEnum):
    """Names the kinds of claims that are looked for."""

    QUOTE = "quote"  # words quoted as visible text
    THING = "thing"  # something that the image shows
    COUNT = "count"  # a number of such things


class Status(StrEnum):
    """Says how a claim compares with the annotations."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNCHECKED = "unchecked"  # the annotations cannot tell


class Basis(StrEnum):
    """Names the annotation that decides a claim."""

    OCR = "ocr"
    BOXES = "boxes"
    TAGS = "tags"
    ALT_TEXT = "alt_text"


@dataclass(frozen=True, slots=True)
class Claim:
    """Holds a claim: `caption[start:end]` makes it."""

    kind: ClaimKind
    status: Status
    start: int
    end: int
    basis: Basis | None = None  # None for an unchecked claim
    detail: str = ""  # what the annotations say, in words: "2 boxes of dog"
