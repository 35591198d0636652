"""Declares engines whose model captions in the worker itself, and holds what these engines share."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from curation.engines.batch_fitter import PassSize
from curation.engines.declaration import EngineDeclaration
from curation.engines.kinds import CAPTIONS, CaptionAnswer, CaptionEngine, CaptionRequest

S = TypeVar("S", bound=BaseModel)
Answer = Callable[[Sequence[CaptionRequest]], list[CaptionAnswer]]


def declare_local_captioner(
    name: str,
    settings: type[S],
    *,
    check: Callable[[S], object],
    find_folder: Callable[[S], Path],
    load: Callable[[S, Path], CaptionEngine],
    fetch: Callable[[S], object] | None = None,
    restricted_settings: Collection[str],
) -> EngineDeclaration[CaptionEngine, S]:
    """Returns the declaration of an engine with a setting `send_image`, whose weights are a folder.

    `check` looks at the folder before a run, `find_folder` returns it in a worker, and `load` loads the model, with the
    libraries that take seconds to import. Each may raise `UsageError`.
    """

    def make(given: S) -> CaptionEngine:
        return load(given, find_folder(given))

    def check_settings(given: S, _: object) -> list[str]:
        check(given)
        return []

    def needs_pixels(given: Any) -> bool:
        return bool(given.send_image)

    return EngineDeclaration(
        name=name,
        kind=CAPTIONS,
        settings=settings,
        make=make,
        extra="train",
        needs_pixels=needs_pixels,
        check=check_settings,
        fetch=fetch,
        restricted_settings=restricted_settings,
    )


def answer_in_passes(
    answer: Callable[[Sequence[CaptionRequest]], list[CaptionAnswer]],
    requests: Sequence[CaptionRequest],
    size: PassSize,
) -> list[CaptionAnswer]:
    """Returns the answers of passes of this size, in the order of the requests."""
    answers: list[CaptionAnswer] = []
    while len(answers) < len(requests):
        answers += answer(requests[len(answers) : len(answers) + size.size])
    return answers


def make_answer(
    request: CaptionRequest, text: str, *, is_complete: bool, prompt_tokens: int, tokens: int
) -> CaptionAnswer:
    """Returns the answer to a request. A model that says nothing has not captioned the image."""
    text, reason = text.strip(), "stop" if is_complete else "length"
    if not text:
        detail = "the model's answer has no text"
        return CaptionAnswer(request.id, "", "error", reason, prompt_tokens, tokens, detail=detail)
    return CaptionAnswer(request.id, text, "ok" if is_complete else "truncated", reason, prompt_tokens, tokens)
