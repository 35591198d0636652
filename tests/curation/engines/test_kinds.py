"""A caption is its own request's, or none: an engine that mixes answers up is found out."""

from collections.abc import Callable
from typing import Any

import pytest

from curation.engines.kinds import CAPTIONS, CaptionAnswer, CaptionEngine, CaptionRequest, EngineInput
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.quarantine import Reason, Rejected

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
