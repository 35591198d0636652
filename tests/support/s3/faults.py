"""A proxy before a store that spoils answers by the number of their request, and keeps a record of all requests.

What it does to a request: "reset" the connection before the store has seen it; "lost": the store does it, and the
connection is reset before its answer; "cut": half of the answer's body comes, then a reset; "throttle": 503 SlowDown
without asking the store; "delay": the answer comes late; "refuse": 403 AccessDenied;
"unknown": 501 NotImplemented.
"""

import contextlib
import http.client
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KINDS = ("reset", "throttle", "cut", "lost", "delay")

REFUSALS = {"throttle": (503, "SlowDown", "Please reduce your request rate."), "refuse": (403, "AccessDenied", "No.")}
REFUSALS["unknown"] = (501, "NotImplemented", "A header you provided implies functionality that is not implemented.")
ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>{}</Message></Error>'


@dataclass(frozen=True, slots=True)
class Request:
    """A request that came."""

    method: str
    path: str
    range: str | None
    fault: str | None


Faults = Callable[[int], str | None]
"""The fault of a request, by its number from 0."""


def one_in_ten(number: int) -> str | None:
    """Each kind in its turn."""
    return KINDS[number // 10 % len(KINDS)] if number % 10 == 7 else None


class Proxy:
    """Where it listens, what comes, and what is done to it; `faults` may be set anew at any time.

    `changed` is called whenever the store has changed something, before the answer goes out.
    """

    def __init__(self, target: str, faults: Faults) -> None:
        self.target, self.faults = target.removeprefix("http://"), faults
        self.changed: Callable[[], None] = lambda: None
        self.delay = 1.2  # seconds
        self.requests: list[Request] = []
        self.numbers, self.lock = itertools.count(), threading.Lock()
        self.conditional = threading.Lock()  # moto checks a condition and writes in two steps
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, method: str, path: str, range_: str | None) -> str | None:
        """Notes a request and tells what is to become of it."""
        with self.lock:
            fault = self.faults(next(self.numbers))
            self.requests.append(Request(method, path, range_, fault))
        return fault

    def seen(self, method: str, part: str = "") -> list[Request]:
        """The requests of a method whose path has that part."""
        with self.lock:
            return [request for request in self.requests if request.method == method and part in request.path]

    def restart(self, faults: Faults | None = None) -> None:
        """Counts from 0 again."""
        with self.lock:
            self.requests.clear()
            self.numbers = itertools.count()
            self.faults = faults or (lambda _: None)


@contextmanager
def proxy_before(target: str, faults: Faults = one_in_ten) -> Iterator[Proxy]:
    """Runs one."""
    proxy = Proxy(target, faults)
    threading.Thread(target=proxy.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = proxy.take(self.command, self.path, self.headers.get("Range"))
            if fault == "reset":
                self.hang_up()
            elif fault in REFUSALS:
                status, code, message = REFUSALS[fault]
                self.answer(status, {"Content-Type": "application/xml"}, ERROR.format(code, message).encode())
            else:
                self.forward(body, fault)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

        def forward(self, body: bytes, fault: str | None) -> None:
            connection = http.client.HTTPConnection(proxy.target, timeout=60)
            with proxy.conditional if "If-None-Match" in self.headers else contextlib.nullcontext():
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                data = answer.read()
            connection.close()
            if self.command in ("PUT", "POST", "DELETE") and answer.status < 300:
                proxy.changed()
            if fault == "delay":
                time.sleep(proxy.delay)
            if fault == "lost" or (fault == "cut" and not data):
                self.hang_up()
                return
            headers = {name: value for name, value in answer.getheaders() if name not in ("Connection", "Date")}
            self.answer(answer.status, headers, data, cut=fault == "cut")

        def answer(self, status: int, headers: dict[str, str], data: bytes, cut: bool = False) -> None:
            try:
                self.send_response_only(status)
                length = headers.get("Content-Length", len(data)) if self.command == "HEAD" else len(data)
                left_out = ("content-length", "transfer-encoding")
                kept = {name: value for name, value in headers.items() if name.lower() not in left_out}
                for name, value in (kept | {"Content-Length": str(length)}).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data[: len(data) // 2] if cut else data)
                if cut:
                    self.wfile.flush()
                    self.hang_up()
            except OSError:
                self.close_connection = True  # the client has lost its patience

        def hang_up(self) -> None:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
