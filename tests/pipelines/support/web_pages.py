"""A web server of this process that answers in all the ways that hosts do."""

import contextlib
import datetime
import io
import ipaddress
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from tests.conftest import jpeg

HUGE = 300_000


TRICKLES = {
    "status": (b"HTTP/1.1 200 ", b"O"),
    "header": (b"HTTP/1.1 200 OK\r\nX-A: ", b"b"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "extension": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=", b"b"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "trailer": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"X-A: b\r\n"),
}
"""How an answer begins, and what it goes on with for ever."""


def make_certificate(path: Path) -> Path:
    """Writes a certificate of 127.0.0.1 that signs itself, after its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_bytes = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key_bytes + certificate.public_bytes(pem))
    return path


@cache
def bomb() -> bytes:
    """A small file of 100 million pixels."""
    file = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(file, "PNG")
    return file.getvalue()


@cache
def noise(width: int, height: int) -> bytes:
    """A grey picture in which neighbours have nothing to do with one another: what blurs it is seen."""
    pixels = np.random.default_rng(width).integers(0, 256, (height, width), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert("RGB").save(file, "PNG")
    return file.getvalue()


@cache
def scans(repeats: int = 30_000, side: int = 3000) -> bytes:
    """A progressive JPEG of under a megabyte whose last scan is there many times: it takes minutes to decode."""
    file = io.BytesIO()
    Image.new("L", (side, side), 128).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * repeats + data[-2:]


class Site(ThreadingHTTPServer):
    """The server: it counts what it is asked for, and once it is mended, `/ill` pages are good ones."""

    request_queue_size = 128

    def __init__(self, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Pages)
        self.address = f"{'https' if certificate else 'http'}://127.0.0.1:{self.server_port}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.requests: Counter[str] = Counter()  # by path
        self.is_mended = False
        self.done = threading.Event()


class Pages(BaseHTTPRequestHandler):
    """Answers of all kinds. `/good/7.jpg` is picture 7."""

    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        self.server.requests[self.path] += 1
        with contextlib.suppress(OSError):
            self._answer(self.path.partition("?")[0].strip("/"))

    def _answer(self, path: str) -> None:
        kind, _, rest = path.partition("/")
        getattr(self, f"_{kind}", self._missing)(rest.removesuffix(".jpg"))

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

    def _ill(self, rest: str) -> None:
        self._answer(f"good/{rest.rpartition('/')[2]}" if self.server.is_mended else rest)

    def _noise(self, size: str) -> None:
        width, _, height = size.partition("x")
        self._send(noise(int(width), int(height)), "image/png")

    def _missing(self, number: str) -> None:
        self.send_error(404, "Not Found")

    def _code(self, rest: str) -> None:
        self.send_error(int(rest.partition("/")[0]))

    def _empty(self, number: str) -> None:
        self._send(b"")

    def _hangup(self, number: str) -> None:
        self.close_connection = True

    def _slow(self, number: str) -> None:
        self.server.done.wait(600)

    def _drip(self, number: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "50000")
        self.end_headers()
        while not self.server.done.wait(0.05):
            self.wfile.write(b"x")

    def _trickle(self, where: str) -> None:
        """An answer that is always about to go on, at a place that no body's limit sees."""
        begun, more = TRICKLES[where.partition("/")[0]]
        self.wfile.write(begun)
        while not self.server.done.wait(0.05):
            self.wfile.write(more)

    def _round(self, number: str) -> None:
        self.server.done.wait(0.3)
        self._to(f"/round/{number}x")

    def _scans(self, number: str) -> None:
        self._send(scans())

    def _page(self, number: str) -> None:
        self._send(b"<html>no picture</html>", "text/html")

    def _huge(self, number: str) -> None:
        self._send(bytes(HUGE))

    def _endless(self, number: str) -> None:
        self.send_response(200)
        self._without_end()

    def _wordy(self, number: str) -> None:
        self.send_response(302)
        self.send_header("Location", f"/good/{number}.jpg")
        self._without_end()

    def _without_end(self) -> None:
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

    def _cut(self, number: str) -> None:
        self._send(jpeg(1)[: len(jpeg(1)) // 2])

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
def served_pages(certificate: Path | None = None) -> Iterator[Site]:
    """A running server of these pages; over TLS where it has a certificate, with its key in the same file."""
    site = Site(certificate)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    try:
        yield site
    finally:
        site.done.set()
        site.shutdown()
        site.server_close()
