"""Says in a few words why a server was not reached, from the chain of exceptions that a client raises."""

import os
import socket
import ssl
from collections.abc import Iterator

import httpx2

from schemas.errors import to_one_line

CONNECTION_LOST = "connection lost"


def has_no_connection(error: BaseException) -> bool:
    """Returns whether the client could not connect, so that the server has not seen the request."""
    return any(isinstance(one, (httpx2.ConnectError, httpx2.ConnectTimeout)) for one in _iterate_causes(error))


def describe_fault(error: BaseException) -> str:
    """Returns why a connection failed, such as "connection refused"."""
    causes = list(_iterate_causes(error))
    for one in causes:
        match one:
            case ssl.SSLCertVerificationError():
                return f"TLS: {one.verify_message}"
            case ssl.SSLError():
                return f"TLS: {(one.reason or str(one)).lower().replace('_', ' ')}"
            case socket.gaierror():
                return "the name of its host is not known"
    for one in causes:
        if isinstance(one, OSError) and one.errno:
            return os.strerror(one.errno).lower()
    if any(isinstance(one, (httpx2.TimeoutException, TimeoutError)) for one in causes):
        return "no answer in time"
    return f"{CONNECTION_LOST}: {to_one_line(error.__cause__ or error, with_type=True)}"


def _iterate_causes(error: BaseException) -> Iterator[BaseException]:
    """Yields the exception and those that it was raised from, also those of groups, outermost first."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        waiting += [cause for cause in (one.__cause__, one.__context__, *inner) if cause is not None]
