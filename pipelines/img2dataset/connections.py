"""HTTP connections with one limit on the whole of an answer; part of the program that `runner.py` is.

The library gives each wait for bytes its timeout, however many waits there are: a host that sends a byte now and then,
in the status line, a header, a chunk's extension or a trailer, holds a connection for ever, and so does one that says
`100 Continue` again and again. Here every wait, from the first packet to the last, ends when the answer's time is over.
"""

import functools
import http.client
import io
import socket
import ssl
import time
import urllib.request
from dataclasses import dataclass, field
from typing import Any

OVERHEAD_BYTES = 1 << 20  # of status lines, headers and chunk sizes, beside an answer's body


class LateAnswer(TimeoutError):
    """An answer that is not here in time."""


@dataclass(slots=True)
class AnswerLimit:
    """The time and the bytes that one address may take, with all that it redirects to."""

    deadline: float  # of the shard, seconds since 1970
    seconds: float
    max_bytes: int  # of the body
    begun: float = field(default_factory=time.time)
    read: int = 0  # bytes

    def seconds_left(self) -> float:
        """Returns how long may still be waited. Raises `LateAnswer` when the time is over."""
        now = time.time()
        if now >= self.deadline:
            raise LateAnswer("deadline")
        if now >= self.begun + self.seconds:
            raise LateAnswer(f"timed out: not all there after {self.seconds:g} s")
        return min(self.deadline, self.begun + self.seconds) - now

    def count(self, size: int) -> None:
        """Counts bytes that have come. Raises `OSError` for more than any answer within the limit takes."""
        self.read += size
        if self.read > self.max_bytes + OVERHEAD_BYTES:
            raise OSError(f"too large: over {self.max_bytes} bytes with all that is around them")


class LimitedReader(io.RawIOBase):
    """Reads what a socket receives, within a limit."""

    def __init__(self, sock: socket.socket, limit: AnswerLimit, timeout: float) -> None:
        self._socket, self._limit, self._timeout = sock, limit, timeout
        self._received = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        """Says that it is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Waits for bytes. Raises `TimeoutError` after the timeout, `LateAnswer` when the answer's time is over."""
        self._socket.settimeout(min(self._timeout, self._limit.seconds_left()))
        try:
            count = self._received.readinto(buffer)
        except TimeoutError:
            self._limit.seconds_left()  # which of the two it was
            raise
        self._limit.count(count or 0)
        return count

    def close(self) -> None:
        """Lets go of the socket."""
        self._received.close()
        super().close()


class LimitedResponse(http.client.HTTPResponse):
    """A response that is read within a limit, from its status line on."""

    def __init__(
        self, sock: socket.socket, *arguments: Any, limit: AnswerLimit, timeout: float, **options: Any
    ) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self.fp = io.BufferedReader(LimitedReader(sock, limit, timeout))


class LimitedConnection(http.client.HTTPConnection):
    """A connection of `http`."""

    def __init__(self, host: str, *, limit: AnswerLimit, timeout: float, **options: Any) -> None:
        super().__init__(host, timeout=timeout, **options)
        self._limit, self._patience = limit, timeout
        self.response_class = functools.partial(  # type: ignore[assignment]  # a class, in the library
            LimitedResponse, limit=limit, timeout=timeout
        )

    def connect(self) -> None:
        """Connects to the first of the host's addresses that lets us, all of them within the limit."""
        error: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM):
            self.sock = socket.socket(family, kind, protocol)
            try:
                self.sock.settimeout(self._wait())
                self.sock.connect(address)
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.sock.settimeout(self._wait())  # of the handshake that follows, and of sending
                return
            except OSError as failure:
                self.sock.close()
                if isinstance(failure, LateAnswer):
                    raise
                error = failure
        raise error or OSError("the host has no address")

    def _wait(self) -> float:
        return min(self._patience, self._limit.seconds_left())


class LimitedTlsConnection(http.client.HTTPSConnection, LimitedConnection):
    """A connection of `https`, which connects as that of `http` does."""


class LimitedHttp(urllib.request.HTTPHandler):
    """Opens addresses of `http` within the `limit` that their request has."""

    def http_open(self, req: Any) -> Any:
        """See `urllib.request`."""
        return self.do_open(functools.partial(LimitedConnection, limit=req.limit), req)


class LimitedHttps(urllib.request.HTTPSHandler):
    """Opens addresses of `https` within the `limit` that their request has."""

    def __init__(self) -> None:
        super().__init__()
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])

    def https_open(self, req: Any) -> Any:
        """See `urllib.request`."""
        connection = functools.partial(LimitedTlsConnection, limit=req.limit, context=self._tls)
        return self.do_open(connection, req)
