"""What contradicts a caption, what supports it, and what nobody can tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.faithfulness.check import CleanedCaption, check_caption, drop_contradicted
from curation.faithfulness.claims import Basis, ClaimKind, Status
from curation.faithfulness.evidence import Evidence, FoundBox, collect_evidence
from schemas.records.box import Detection, detection_to_arrow
from schemas.records.tag import Tag, tag_to_arrow
from schemas.records.text_line import TextLine, line_to_arrow

DOGS = tuple(FoundBox("dog", "dog") for _ in range(2))
SCENE = Evidence(
    lines=("GRAND", "HOTEL 24 hours", "NOPARKING", "出口はこちら", "ทางออกฉุกเฉิน"),
    boxes=(*DOGS, FoundBox("wine glass", "wine glass"), FoundBox("man", "man")),
    asked=frozenset(["dog", "cat", "wine glass", "glass", "man", "person", "orange", "knife", "sheep", "car"]),
    seen=frozenset(["wine glass"]),
    alt_text="My horse at the Ritz",
)


def said(caption: str, evidence: Evidence = SCENE) -> list[tuple[str, str, str]]:
    """Kind, status and words of each claim, by their first letters."""
    return [(c.kind[0], c.status[0], caption[c.start : c.end]) for c in check_caption(caption, evidence)]


@pytest.mark.parametrize(
    ("quote", "status"),
    [
        ('"GRAND HOTEL"', "s"),
        ('"grand hotei"', "s"),  # one letter of five or more
        ('"24 HOURS HOTEL"', "s"),  # in any order
        ('"NO PARKING"', "s"),  # however it is divided
        ('"PARKING"', "s"),
        ('"Ritz"', "s"),  # the alt text has it
        ("「出口」", "s"),
        ("«ทางออก»", "s"),
        ('"GRAND MOTOR"', "c"),
        ('"23 hours"', "c"),  # digits and short words must be equal
        ("「入口」", "c"),
        ('"?!"', "u"),
    ],
)
def test_quotations(quote: str, status: str) -> None:
    assert said(f"The sign says {quote}.") == [("q", status, quote)]


def test_quotations_that_nobody_can_check() -> None:
    claimed = 'The sign says "EXIT".'
    assert said(claimed, Evidence(lines=())) == [("q", "c", '"EXIT"')]
    assert said(claimed, Evidence(lines=None)) == [("q", "u", '"EXIT"')]
    assert said('The so-called "EXIT"') == [("q", "u", '"EXIT"')]
    assert said('The so-called "Grand Hotel"') == [("q", "s", '"Grand Hotel"')]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A dog runs.", [("t", "s", "dog")]),
        ("a cat", [("t", "c", "cat")]),
        ("Cats!", [("t", "c", "Cats")]),
        ("sharp knives", [("t", "c", "knives")]),
        ("a glass", [("t", "s", "glass")]),  # a wine glass is one
        ("one person", [("c", "s", "one person")]),  # the detector calls him a man
        ("A horse", [("t", "s", "horse")]),  # by the alt text
        ("A truck", [("t", "u", "truck")]),  # nobody looked for one
        ("no cat", [("t", "u", "cat")]),
        ("It isn't a cat", [("t", "u", "cat")]),
        ("It looks like a cat", [("t", "u", "cat")]),
        ("a cat-friendly room", [("t", "u", "cat")]),
        ("the cat's", [("t", "u", "cat")]),
        ("a cat shelter", [("t", "u", "cat")]),
        ("an orange shelter", [("t", "u", "orange")]),
        ("It is orange.", [("t", "u", "orange")]),
        ("an orange on it", [("t", "c", "orange")]),
        ('"a cat"', [("q", "u", '"a cat"')]),
    ],
)
def test_things(caption: str, expected: list[tuple[str, str, str]]) -> None:
    assert said(caption) == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("two dogs", "s"),
        ("2 dogs", "s"),
        ("٢ dogs", "s"),
        ("three dogs", "c"),
        ("one dog", "c"),
        ("twenty-two dogs", "c"),
        ("one black dog", "s"),  # there may be others
        ("three black dogs", "c"),
        ("four cars", "c"),
        ("three sheep", "c"),
    ],
)
def test_counts(caption: str, expected: str) -> None:
    assert said(caption) == [("c", expected, caption)]


@pytest.mark.parametrize(
    "caption",
    [
        "at least one dogs",
        "about 7 dogs",
        "two or three dogs",
        "1,003 dogs",
        "2-3 dogs",
        "up to 9 dogs",
        "top 10 dogs",
        "1999 dogs",
    ],
)
def test_vague_numbers_and_parts_of_numbers_are_no_counts(caption: str) -> None:
    assert said(caption) == [("t", "s", "dogs")]


def test_several_mentions_may_share_the_number() -> None:
    assert said("One dog sits, one dog stands.") == [("c", "s", "One dog"), ("c", "s", "one dog")]
    assert said("One dog sits. The dog sleeps.") == [("c", "c", "One dog"), ("t", "s", "dog")]
    assert said("Three dogs sit. The two dogs run.") == [("c", "c", "Three dogs"), ("c", "s", "two dogs")]


def test_things_without_a_detector_have_the_evidence_of_tags() -> None:
    evidence = Evidence(seen=frozenset(["cat"]), asked=frozenset(["cat", "dog"]))
    assert said("A cat, two cats, a dog", evidence) == [("t", "s", "cat"), ("c", "u", "two cats"), ("t", "u", "dog")]
    [claim] = check_caption("A cat", evidence)
    assert (claim.kind, claim.status, claim.basis) == (ClaimKind.THING, Status.SUPPORTED, Basis.TAGS)


def test_words_of_a_box_under_another_label_are_no_contradiction() -> None:
    boxes = (FoundBox("polo shirt", "t shirt polo shirt"),)
    evidence = Evidence(boxes=boxes, asked=frozenset(["polo shirt", "t-shirt"]))
    assert said("A t-shirt", evidence) == [("t", "s", "t-shirt")]


def test_contradicted_sentences_are_dropped() -> None:
    caption = 'Two dogs. A sign by Mr. Low says "EXIT. NOW." A cat sleeps.\nThe end.'
    assert drop_contradicted(caption, SCENE) == CleanedCaption("Two dogs.\nThe end.", 4, 2)
    assert drop_contradicted("Two dogs. ", SCENE) == CleanedCaption("Two dogs. ", 1, 0)
    assert drop_contradicted("A cat", SCENE) == CleanedCaption("", 1, 1)


def test_evidence_of_a_row() -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    row = {
        "caption": "A cat",
        "ocr": [line_to_arrow(TextLine("EXIT", (0.0,) * 8, box, 1.0))],
        "tags": [tag_to_arrow(Tag("cat", 1.0, "caption", 2, 5)), tag_to_arrow(Tag("dog", 0.5, "image"))],
        "boxes": [detection_to_arrow(Detection("dog", "a dog", box, 0.5))],
    }
    expected = Evidence(("EXIT",), (FoundBox("dog", "a dog"),), frozenset(["cat", "dog"]), frozenset(["dog"]), "A cat")
    assert collect_evidence(row) == expected
    assert collect_evidence(row, with_alt_text=False).alt_text == ""
    assert collect_evidence({"caption": "", "ocr": None, "tags": None, "boxes": None}) == Evidence()


@given(st.text(max_size=60), st.lists(st.text(max_size=12), max_size=3), st.lists(st.text(max_size=8), max_size=3))
def test_any_text_has_claims_within_it(caption: str, lines: list[str], names: list[str]) -> None:
    evidence = Evidence(tuple(lines), tuple(FoundBox(name, name) for name in names[:1]), frozenset(names))
    claims = check_caption(caption, evidence)
    assert all(0 <= claim.start < claim.end <= len(caption) for claim in claims)
    assert drop_contradicted(caption, evidence).dropped <= len(claims)
