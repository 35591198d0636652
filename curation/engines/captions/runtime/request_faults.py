"""Reads why a request has failed from the exception that the client raises, and whether that may pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2
import openai

from curation.engines.captions.runtime.completions import REFUSAL_REASON, MalformedAnswer
from curation.engines.captions.runtime.connections import CONNECTION_LOST, describe_fault, has_no_connection
from curation.engines.captions.runtime.retries import may_pass
from schemas.errors import to_one_line

_OF_ALL = frozenset({401, 402, 404})  # the key is not valid, nothing is left to pay with, no such address or model


@dataclass(frozen=True, slots=True)
class Fault:
    """Describes why one try has failed."""

    detail: str  # for the row
    reason: str  # in a few words: the same for all requests that fail alike
    is_final: bool = False  # of this request: it would fail again
    concerns_all: bool = False  # no request can succeed
    is_unreachable: bool = False  # there was no connection
    headers: Mapping[str, str] = field(default_factory=dict)  # of the response, if there was one


def is_refusal(error: Exception) -> bool:
    """Returns whether a filter of the server has stopped the request."""
    return isinstance(error, openai.APIStatusError) and error.status_code == 400 and error.code == REFUSAL_REASON


def read_fault(error: Exception, timeout_seconds: float) -> Fault:
    """Returns the fault of a try that might take `timeout_seconds`."""
    if isinstance(error, openai.APIStatusError):
        status = error.status_code
        message = error.message.removeprefix(f"Error code: {status} - ")
        concerns_all = status in _OF_ALL or 300 <= status < 400
        detail, reason = f"HTTP {status}: {message}", f"HTTP {status}"
        return Fault(detail, reason, not may_pass(status), concerns_all, headers=error.response.headers)
    if isinstance(error, TimeoutError):
        text = f"no answer within {timeout_seconds:g} s"
        return Fault(text, text)
    if isinstance(error, (openai.APIConnectionError, httpx2.HTTPError)):
        text = describe_fault(error)
        reason = CONNECTION_LOST if text.startswith(CONNECTION_LOST) else text
        return Fault(text, reason, is_unreachable=has_no_connection(error))
    if isinstance(error, MalformedAnswer):
        return Fault(str(error), "a malformed answer")
    text = to_one_line(error, with_type=True)
    return Fault(text, text, is_final=True)
