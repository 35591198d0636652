"""A web server of this process that answers in all the ways that hosts do."""

import contextlib
import io
import threading
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

from tests.conftest import jpeg

HUGE = 300_000


@cache
def bomb() -> bytes:
    """A small file of 100 million pixels."""
    file = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(file, "PNG")
    return file.getvalue()


class Pages(BaseHTTPRequestHandler):
    """Answers of all kinds. `/good/7.jpg` is picture 7."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        kind, _, number = self.path.strip("/").partition("/")
        with contextlib.suppress(OSError):
            getattr(self, f"_{kind}", self._missing)(number.removesuffix(".jpg"))

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _send(self, data: bytes, kind: str = "image/jpeg", **headers: str) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def _good(self, number: str) -> None:
        self._send(jpeg(int(number)))

    def _missing(self, number: str) -> None:
        self.send_error(404, "Not Found")

    def _slow(self, number: str) -> None:
        self.server.done.wait(20)  # type: ignore[attr-defined]

    def _drip(self, number: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        while not self.server.done.wait(0.05):  # type: ignore[attr-defined]
            self.wfile.write(b"x")

    def _page(self, number: str) -> None:
        self._send(b"<html>no picture</html>", "text/html")

    def _huge(self, number: str) -> None:
        self._send(bytes(HUGE))

    def _endless(self, number: str) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        while True:
            self.wfile.write(bytes(1 << 16))

    def _short(self, number: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(jpeg(1))))
        self.end_headers()
        self.wfile.write(jpeg(1)[:-50])
        self.close_connection = True

    def _bomb(self, number: str) -> None:
        self._send(bomb(), "image/png")

    def _noai(self, number: str) -> None:
        self._send(jpeg(1), X_Robots_Tag="noai")

    def _to(self, url: str) -> None:
        self.send_response(302)
        self.send_header("Location", {"good": "/good/3.jpg", "round": "/to/round"}.get(url, url))
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextlib.contextmanager
def served_pages() -> Iterator[str]:
    """The address of a server of these pages."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.done = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.done.set()  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()
