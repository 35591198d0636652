"""What an engine returns belongs to its image and can be used: answers to other requests and NaNs are found out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from curation.engines.kinds import BOXES, CAPTIONS, OCR, TAGS, CaptionAnswer, CaptionEngine, CaptionRequest, EngineInput
from schemas.records.box import Detection, detection_to_arrow
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.quarantine import Reason, Rejected
from schemas.records.tag import Tag, tag_to_arrow
from schemas.records.text_line import TextLine, line_to_arrow

REQUESTS = [CaptionRequest(id, f"prompt {id}", None) for id in "abc"]
BATCH = EngineInput([], ["", "", ""], [], REQUESTS)


class Fake:
    """An engine whose answers are changed before they are returned."""

    fingerprint = EngineFingerprint(name="fake", version="1", weights_sha256="", settings={})

    def __init__(self, change: Callable[[list[CaptionAnswer]], list[CaptionAnswer]]) -> None:
        self.change = change

    def annotate(self, requests: Any) -> list[CaptionAnswer]:
        return self.change([CaptionAnswer(request.id, f"text of {request.id}") for request in requests])


def run(change: Callable[[list[CaptionAnswer]], list[CaptionAnswer]]) -> list[Any]:
    """The text of each value, or the fault's detail."""
    engine: CaptionEngine = Fake(change)
    values = CAPTIONS.annotate(engine, BATCH)
    assert all(value.reason is Reason.ENGINE_ERROR for value in values if isinstance(value, Rejected))
    return [value.detail if isinstance(value, Rejected) else value["text"] for value in values]


TEXTS = [f"text of {id}" for id in "abc"]
MIXED = "the engine returned the answer to {} for {}"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda answers: answers, TEXTS),
        (lambda answers: [*answers, answers[0]], TEXTS),
        (
            lambda answers: [answers[1], answers[0], answers[2]],
            [MIXED.format("b", "a"), MIXED.format("a", "b"), TEXTS[2]],
        ),
        (lambda answers: answers[:2], [*TEXTS[:2], "the engine returned no answer for c"]),
        (
            lambda answers: answers[1:],
            [MIXED.format("b", "a"), MIXED.format("c", "b"), "the engine returned no answer for c"],
        ),
        (
            lambda answers: [CaptionAnswer("a", "", "error", detail="no luck"), *answers[1:]],
            ["no luck", *TEXTS[1:]],
        ),
        (lambda answers: [CaptionAnswer("a", "half \ud800 pair"), *answers[1:]], ["half ? pair", *TEXTS[1:]]),
    ],
)
def test_an_answer_belongs_to_its_request(
    change: Callable[[list[CaptionAnswer]], list[CaptionAnswer]], found: list[str]
) -> None:
    assert run(change) == found


def test_a_part_of_a_batch() -> None:
    part = BATCH.slice(1, 3)
    assert (len(part), part.requests) == (2, REQUESTS[1:])


class Giving:
    """An engine that finds the same in each of three images, but for the second."""

    fingerprint = Fake.fingerprint

    def __init__(self, usual: Any, second: Any) -> None:
        self.found = [[usual], [usual, second], []]

    def annotate(self, *_: Any) -> list[list[Any]]:
        return self.found


BOX, NAN, INFINITE = (0.0, 0.0, 0.5, 0.5), float("nan"), float("inf")
LINE = TextLine("x", (*BOX, *BOX), BOX, 0.5)
DOG = Detection("dog", "dog", BOX, 0.5)


@pytest.mark.parametrize(
    ("kind", "to_arrow", "usual", "second", "fault"),
    [
        (OCR, line_to_arrow, LINE, LINE, None),
        (OCR, line_to_arrow, LINE, TextLine("x", LINE.polygon, BOX, NAN), "confidence nan"),
        (OCR, line_to_arrow, LINE, TextLine("x", LINE.polygon, (0.0, INFINITE, 1.0, 1.0), 0.5), "y1 inf"),
        (
            *(OCR, line_to_arrow, LINE),
            TextLine("x", (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, NAN), BOX, 0.5),
            "polygon (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, nan)",
        ),
        (OCR, line_to_arrow, LINE, TextLine("x", LINE.polygon, BOX, np.float32("nan")), "confidence nan"),
        (TAGS, tag_to_arrow, Tag("a", 0.5, "image"), Tag("b", NAN, "image"), "score nan"),
        (BOXES, detection_to_arrow, DOG, Detection("dog", "dog", (0.0, 0.0, -INFINITE, 1.0), 0.5), "x2 -inf"),
        (BOXES, detection_to_arrow, DOG, Detection("inf", "nan", BOX, 2.0), None),
    ],
)
def test_numbers_that_are_none_are_a_fault_of_their_image(
    kind: Any, to_arrow: Callable[[Any], Any], usual: Any, second: Any, fault: str | None
) -> None:
    one, other, none = kind.annotate(Giving(usual, second), EngineInput([], ["", "", ""], []))
    assert (one, none) == ([to_arrow(usual)], [])
    if fault is None:
        assert other == [to_arrow(usual), to_arrow(second)]
    else:
        assert isinstance(other, Rejected)
        assert (other.reason, other.detail) == (Reason.ENGINE_ERROR, f"the engine returned {fault}")
