"""Reads the answers of a server to chat requests. They are data of unknown origin, and are read strictly."""

from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from curation.engines.kinds import CaptionAnswer

REFUSAL_REASON = "content_filter"
"""The finish reason, and the code of an error, of a request that a filter has stopped."""

_Tokens = Annotated[int, Field(ge=0, lt=2**31)]


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: _Tokens | None = None
    completion_tokens: _Tokens | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1, max_length=1)
    usage: _Usage | None = None


class MalformedAnswer(Exception):
    """Says that an answer is no completion: cut, not JSON, or of another form."""


def read_completion(request: str, content: bytes) -> CaptionAnswer:
    """Returns the answer to the request with this id. Raises `MalformedAnswer`."""
    try:
        completion = _Completion.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise MalformedAnswer(f"a malformed answer ({where + ': ' if where else ''}{fault['msg']})") from None
    [choice] = completion.choices
    usage = completion.usage or _Usage()
    text = (choice.message.content or "").strip()
    reason = choice.finish_reason
    counts = (reason, usage.prompt_tokens, usage.completion_tokens)
    if choice.message.refusal or reason == REFUSAL_REASON:
        return CaptionAnswer(request, "", "refused", *counts)
    if text and reason in ("stop", None):
        return CaptionAnswer(request, text, "ok", *counts)
    if text and reason == "length":
        return CaptionAnswer(request, text, "truncated", *counts)
    found = "an answer" if text else "an answer without text"
    return CaptionAnswer(request, "", "error", *counts, detail=f"{found} that ended by {reason!r}")
