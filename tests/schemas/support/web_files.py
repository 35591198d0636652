"""A web server of a folder's files, which gives parts of them or, as many do, whole files alone."""

import contextlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Files(BaseHTTPRequestHandler):
    """Files below `folder`, folders as pages of links, and `/code/403/...` as that refusal."""

    protocol_version = "HTTP/1.1"
    folder: Path
    gives_parts: bool

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        with contextlib.suppress(OSError):
            self._answer(with_body=True)

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _answer(self, with_body: bool) -> None:
        code, data, headers = self._found(self.path.partition("?")[0])
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(data)

    def _found(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        target = self.folder / path.strip("/")
        if refused := re.match(r"/code/(\d+)", path):
            return int(refused[1]), b"", {}
        if target.is_dir():
            links = "".join(f'<a href="{file.name}">{file.name}</a>' for file in sorted(target.iterdir()))
            return 200, links.encode(), {"Content-Type": "text/html"}
        if not target.is_file():
            return 404, b"", {}
        data = target.read_bytes()
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if self.gives_parts else None
        if part is None:
            return 200, data, {"Accept-Ranges": "bytes"} if self.gives_parts else {}
        first, last = int(part[1]), min(int(part[2] or len(data) - 1), len(data) - 1)
        return 206, data[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(data)}"}


class Server(ThreadingHTTPServer):
    """Says nothing of clients that leave before they have all."""

    def handle_error(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def served_files(folder: Path, gives_parts: bool = True) -> Iterator[str]:
    """The address of a running server of these files."""
    handler = type("Served", (Files,), {"folder": folder, "gives_parts": gives_parts})
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
