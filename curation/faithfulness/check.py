"""Checks a caption against the annotations of its image: a pure function of the two.

Only three things contradict a caption; whatever else it says is supported or unchecked:

- words quoted as visible text that no line of text has within an edit distance;
- a thing that the detector was asked for and did not find;
- a count of such a thing that differs from the number of its boxes.

So a caption is only as false as the engines are right: a detector that misses a dog contradicts a caption that has it.
"""

from collections import Counter
from dataclasses import dataclass

from curation.engines.tags.vocabulary import split_words
from curation.faithfulness.claims import Basis, Claim, ClaimKind, Status
from curation.faithfulness.evidence import Evidence
from curation.faithfulness.quotes import Quote, find_quotes
from curation.faithfulness.reading import is_read, split_letters
from curation.faithfulness.sentences import Span, drop_sentences, split_sentences
from curation.faithfulness.things import Name, ThingMention, find_things, list_forms
from curation.faithfulness.words import contains_words, list_words, read_words

_PEOPLE = frozenset(
    (word,) for word in list_words("person people man woman boy girl child kid baby toddler lady guy adult human")
)
"""Names that a detector gives to the same person: it labels each box with the one that fits best."""


@dataclass(frozen=True, slots=True)
class CleanedCaption:
    """Holds a caption without its contradicted sentences."""

    text: str
    sentences: int  # before
    dropped: int


def check_caption(caption: str, evidence: Evidence) -> list[Claim]:
    """Returns the claims of a caption, in its order. Accepts any text."""
    quotes = find_quotes(caption)
    reading = split_letters("\n".join(evidence.lines)) if quotes and evidence.lines is not None else None
    claims = [_check_quote(quote, reading, evidence) for quote in quotes]
    words = read_words(caption)
    boxes = _BoxCounts(evidence)
    alt_text = read_words(evidence.alt_text).words
    mentions = find_things(words, boxes.asked | boxes.seen | set(boxes.labels), [(q.start, q.end) for q in quotes])
    named = Counter(name for mention in mentions if not mention.is_definite for name in mention.names)
    for mention in mentions:
        start = words.spans[mention.first if mention.count_word is None else mention.count_word][0]
        is_only = all(named[name] <= (not mention.is_definite) for name in mention.names)
        claims.append(_check_thing(mention, boxes, alt_text, (start, words.spans[mention.last][1]), is_only))
    return sorted(claims, key=lambda claim: (claim.start, claim.end))


def drop_contradicted(caption: str, evidence: Evidence) -> CleanedCaption:
    """Drops the sentences of a caption that contain a contradicted claim. The others stay as they are."""
    wrong = [claim for claim in check_caption(caption, evidence) if claim.status is Status.CONTRADICTED]
    sentences = split_caption(caption)
    if not wrong:
        return CleanedCaption(caption, len(sentences), 0)
    dropped = [any(claim.start < end and start < claim.end for claim in wrong) for start, end in sentences]
    return CleanedCaption(drop_sentences(caption, sentences, dropped), len(sentences), sum(dropped))


def split_caption(caption: str) -> list[Span]:
    """Returns the spans of a caption's sentences."""
    return split_sentences(caption, [(quote.start, quote.end) for quote in find_quotes(caption)])


class _BoxCounts:
    """Counts the boxes that may show a thing."""

    def __init__(self, evidence: Evidence) -> None:
        self.is_known = evidence.boxes is not None
        self.asked = {_split(name) for name in evidence.asked or ()}
        self.seen = {_split(name) for name in evidence.seen}
        self._boxes = [(_split(box.label), tuple(split_words(box.phrase))) for box in evidence.boxes or ()]
        self.labels = Counter(label for label, _ in self._boxes)

    def count(self, names: frozenset[Name]) -> int:
        """Returns the number of boxes with one of these labels."""
        return sum(self.labels[name] for name in names)

    def count_related(self, names: frozenset[Name]) -> int:
        """Returns the number of boxes with another label that may show the thing all the same.

        The label names a kind of it ("wine glass") or the same thing ("man", "person"), or the detector recognised the
        thing's words there as well.
        """
        return sum(
            label not in names and any(_is_related(name, label, phrase) for name in names)
            for label, phrase in self._boxes
        )


def _is_related(name: Name, label: Name, phrase: tuple[str, ...]) -> bool:
    return (
        label[-len(name) :] == name
        or contains_words(phrase, name)
        or (name in _PEOPLE and label in _PEOPLE)
        or not list_forms(name).isdisjoint(list_forms(label))
    )


def _split(name: str) -> Name:
    return tuple(split_words(name))


def _check_quote(quote: Quote, reading: list[str] | None, evidence: Evidence) -> Claim:
    def claim(status: Status, basis: Basis | None = None, detail: str = "") -> Claim:
        return Claim(ClaimKind.QUOTE, status, quote.start, quote.end, basis, detail)

    quoted = split_letters(quote.text)
    if not quoted:
        return claim(Status.UNCHECKED)
    if reading is not None and is_read(quoted, reading):
        return claim(Status.SUPPORTED, Basis.OCR)
    if contains_words(tuple(split_letters(evidence.alt_text)), tuple(quoted)):
        return claim(Status.SUPPORTED, Basis.ALT_TEXT)
    if reading is None or not quote.is_visible_text:
        return claim(Status.UNCHECKED)
    return claim(Status.CONTRADICTED, Basis.OCR, f"{len(evidence.lines or ())} lines, and none of them has it")


def _check_thing(
    mention: ThingMention, boxes: _BoxCounts, alt_text: tuple[str, ...], span: Span, is_only_mention: bool
) -> Claim:
    kind = ClaimKind.THING if mention.count is None else ClaimKind.COUNT

    def claim(status: Status, basis: Basis | None = None, detail: str = "") -> Claim:
        return Claim(kind, status, *span, basis, detail)

    if not mention.is_claim:
        return claim(Status.UNCHECKED)
    least = boxes.count(mention.names)
    most = least + boxes.count_related(mention.names)
    name = " ".join(min(mention.names))
    if boxes.is_known and (most or not boxes.asked.isdisjoint(mention.names)):
        is_exact = is_only_mention and not mention.is_subset
        wanted = mention.count or 1
        fits = wanted <= most and (mention.count is None or not is_exact or least <= wanted)
        status = Status.SUPPORTED if fits else Status.CONTRADICTED
        return claim(status, Basis.BOXES, f"{most} boxes of {name}")
    if mention.count is None and not boxes.seen.isdisjoint(mention.names):
        return claim(Status.SUPPORTED, Basis.TAGS)
    if mention.count is None and any(contains_words(alt_text, form) for n in mention.names for form in list_forms(n)):
        return claim(Status.SUPPORTED, Basis.ALT_TEXT)
    return claim(Status.UNCHECKED)
