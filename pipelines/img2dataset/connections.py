"""Opens HTTP connections with one time limit on the whole response; imported by the `runner.py` program.

`http.client` applies its timeout to each wait for bytes, however many there are. A host that sends a byte now and then,
in the status line, a header, a chunk's extension or a trailer, can hold a connection for ever, and so can one that
repeats `100 Continue`. Here the time limit of the response ends every wait, from the first packet to the last.
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

OVERHEAD_BYTES = 1 << 20  # allowed for status lines, headers and chunk sizes, on top of a response's body


class LateResponseError(TimeoutError):
    """Reports that a response exceeds its time limit or the shard's deadline."""


@dataclass(slots=True)
class ResponseLimit:
    """Limits the time and the bytes of one URL, including all redirects."""

    deadline: float  # of the shard, seconds since 1970
    seconds: float
    max_bytes: int  # of the body
    started: float = field(default_factory=time.time)
    bytes_read: int = 0  # bytes

    def get_seconds_left(self) -> float:
        """Returns the seconds left to wait. Raises `LateResponseError` when there are none."""
        now = time.time()
        if now >= self.deadline:
            raise LateResponseError("deadline")
        if now >= self.started + self.seconds:
            raise LateResponseError(f"timed out: not all there after {self.seconds:g} s")
        return min(self.deadline, self.started + self.seconds) - now

    def count(self, size: int) -> None:
        """Counts received bytes. Raises `OSError` above `max_bytes` plus overhead."""
        self.bytes_read += size
        if self.bytes_read > self.max_bytes + OVERHEAD_BYTES:
            raise OSError(f"too large: over {self.max_bytes} bytes with all that is around them")


class LimitedReader(io.RawIOBase):
    """Reads from a socket within a limit."""

    def __init__(self, sock: socket.socket, limit: ResponseLimit, timeout: float) -> None:
        self._socket, self._limit, self._timeout = sock, limit, timeout
        self._received = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        """Returns True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Waits for bytes.

        Raises `TimeoutError` after the timeout, `LateResponseError` when the response's time is over.
        """
        self._socket.settimeout(min(self._timeout, self._limit.get_seconds_left()))
        try:
            count = self._received.readinto(buffer)
        except TimeoutError:
            self._limit.get_seconds_left()  # raises `LateResponseError` if its limit was the shorter one
            raise
        self._limit.count(count or 0)
        return count

    def close(self) -> None:
        """Closes this reader's handle of the socket."""
        self._received.close()
        super().close()


class LimitedResponse(http.client.HTTPResponse):
    """Reads an HTTP response within a limit, from the status line on."""

    def __init__(
        self, sock: socket.socket, *arguments: Any, limit: ResponseLimit, timeout: float, **options: Any
    ) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self.fp = io.BufferedReader(LimitedReader(sock, limit, timeout))


class LimitedConnection(http.client.HTTPConnection):
    """Connects and reads over HTTP within a limit."""

    def __init__(self, host: str, *, limit: ResponseLimit, timeout: float, **options: Any) -> None:
        super().__init__(host, timeout=timeout, **options)
        self._limit, self._timeout = limit, timeout
        self.response_class = functools.partial(  # type: ignore[assignment]  # a class, in the library
            LimitedResponse, limit=limit, timeout=timeout
        )

    def connect(self) -> None:
        """Connects to the first of the host's IP addresses that accepts; the limit covers all attempts."""
        error: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM):
            self.sock = socket.socket(family, kind, protocol)
            try:
                self.sock.settimeout(self._next_timeout())
                self.sock.connect(address)
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.sock.settimeout(self._next_timeout())  # for the TLS handshake that follows, and for sending
                return
            except OSError as failure:
                self.sock.close()
                if isinstance(failure, LateResponseError):
                    raise
                error = failure
        raise error or OSError("the host has no address")

    def _next_timeout(self) -> float:
        return min(self._timeout, self._limit.get_seconds_left())


class LimitedTlsConnection(LimitedConnection):
    """Connects and reads over HTTPS within a limit, which covers the TLS handshake too."""

    default_port = 443

    def __init__(self, host: str, *, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(host, **options)
        self._context = context

    def connect(self) -> None:
        """Connects, and checks the host's certificate. Raises `OSError`."""
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)


class LimitedHttp(urllib.request.HTTPHandler):
    """Opens `http` URLs within the `limit` attribute of their request."""

    def http_open(self, req: Any) -> Any:
        """See `urllib.request`."""
        return self.do_open(functools.partial(LimitedConnection, limit=req.limit), req)


class LimitedHttps(urllib.request.HTTPSHandler):
    """Opens `https` URLs within the `limit` attribute of their request."""

    def __init__(self) -> None:
        super().__init__()
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])

    def https_open(self, req: Any) -> Any:
        """See `urllib.request`."""
        connection = functools.partial(LimitedTlsConnection, limit=req.limit, context=self._tls)
        return self.do_open(connection, req)
