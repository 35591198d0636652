"""A stand-in for the Hugging Face hub: the answers that its own library asks for, of one repository's files."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """What was asked of it: the files that were sent."""

    address: str
    sent: list[str] = field(default_factory=list)


@contextlib.contextmanager
def running_hub(repository: str, revision: str, files: Mapping[str, bytes]) -> Iterator[Hub]:
    """A server with these files at this revision of the repository, and at no other."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            name = path.removeprefix(f"/{repository}/resolve/{revision}/")
            if path.startswith(f"/api/models/{repository}/tree/{revision}"):
                entries = [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in files.items()
                ]
                self.reply(json.dumps(entries).encode(), {"Content-Type": "application/json"})
            elif path.startswith(f"/api/models/{repository}/revision/{revision}"):
                siblings = [{"rfilename": name} for name in files]
                described = {"id": repository, "sha": revision, "siblings": siblings}
                self.reply(json.dumps(described).encode(), {"Content-Type": "application/json"})
            elif path != name and name in files:
                if self.command == "GET":
                    hub.sent.append(name)
                etag = f'"{hashlib.sha1(files[name]).hexdigest()}"'
                self.reply(files[name], {"ETag": etag, "X-Repo-Commit": revision})
            else:
                self.reply(b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"}, 404)

        def reply(self, data: bytes, headers: Mapping[str, str], code: int = 200) -> None:
            self.send_response(code)
            for header, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(header, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        hub = Hub(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield hub
        finally:
            server.shutdown()
