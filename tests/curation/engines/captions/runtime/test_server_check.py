"""A server is asked once before a run: one line says why it can't caption, and nothing shows the key."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from curation.engines.captions.endpoint import ENGINE
from curation.engines.captions.endpoint_settings import EndpointSettings
from curation.engines.captions.runtime import server_check
from schemas.errors import UsageError

KEY = "sk-not-to-be-shown"
MODELS, CHAT = "GET /v1/models", "POST /v1/chat/completions"
ABSENT = (404, {"detail": "Not Found"})
ANSWER = (200, {"choices": [{"message": {"content": "Yes."}}]})

Answers = Mapping[str, tuple[int, Any]]


@contextlib.contextmanager
def serving(answers: Answers) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A server with one answer to each question. Yields its URL, and what was asked, with the key that was sent."""
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers["content-length"] or 0))
            question = f"{self.command} {self.path}"
            asked.append((question, self.headers["authorization"]))
            status, body = answers.get(question, ABSENT)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if status == 307:
                self.send_header("Location", "https://elsewhere.test/v1/models?a=1")
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=lambda: server.serve_forever(0.01), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(url: str, **settings: Any) -> list[str]:
    """Asks as a run does, and returns the notices."""
    assert ENGINE.ask is not None
    return ENGINE.ask(EndpointSettings(**({"model": "a/b", "base_url": url} | settings)))


def list_models(*names: str) -> tuple[int, Any]:
    return 200, {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}


@pytest.mark.parametrize(
    ("answers", "questions"),
    [
        ({MODELS: list_models("c", "a/b")}, [MODELS]),
        ({MODELS: list_models("c"), CHAT: ANSWER}, [MODELS, CHAT]),  # by a name that it does not list
        ({CHAT: ANSWER}, [MODELS, CHAT]),
        ({MODELS: (200, b"<html>"), CHAT: ANSWER}, [MODELS, CHAT]),
        ({MODELS: (200, b'["' + b"[" * 9), CHAT: ANSWER}, [MODELS, CHAT]),
        ({MODELS: (403, {"error": {"message": "no scope"}}), CHAT: ANSWER}, [MODELS, CHAT]),
    ],
)
def test_servers_that_can_work(answers: Answers, questions: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_KEY", KEY)
    with serving(answers) as (url, asked):
        assert ask(url, key_variable="SERVER_KEY") == []
    assert asked == [(question, f"Bearer {KEY}") for question in questions]


@pytest.mark.parametrize(
    ("answers", "line"),
    [
        (
            {MODELS: (401, {"error": {"message": f"wrong key {KEY}"}})},
            "URL does not accept the key in SERVER_KEY: put a valid one there (HTTP 401)",
        ),
        (
            {MODELS: (307, {})},
            "URL redirects to https://elsewhere.test/v1/models, and redirects are not followed: set base_url in "
            "run.settings to the address that is meant",
        ),
        (
            {MODELS: list_models("c", "d"), CHAT: (404, {"error": {"message": "no such model"}})},
            "URL does not know the model 'a/b': set model in the engine's settings to one of c, d",
        ),
        (
            {MODELS: list_models(*"cdefgh"), CHAT: (400, {})},
            "URL does not know the model 'a/b': set model in the engine's settings to one of c, d, e, f, g and others",
        ),
        (
            {CHAT: (404, {"error": {"message": "The model\ndoes not exist"}})},
            "URL/chat/completions is not found, or has no model 'a/b' (HTTP 404: The model does not exist): correct "
            "base_url in run.settings, or model in the engine's settings",
        ),
        (
            {MODELS: (200, b"<html>"), CHAT: (200, b"<html>")},
            "URL answers, but not as an OpenAI-compatible API: correct base_url in run.settings, which often ends in "
            "/v1",
        ),
        (
            {CHAT: (403, {"error": f"key {KEY} may not"})},
            "URL refuses the request (HTTP 403: key *** may not): see what the key in SERVER_KEY may do",
        ),
    ],
)
def test_servers_that_can_not(answers: Answers, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_KEY", KEY)
    with serving(answers) as (url, _), pytest.raises(UsageError) as error:
        ask(url, key_variable="SERVER_KEY")
    assert str(error.value) == f"endpoint: {line.replace('URL', url)}"


def test_a_server_that_asks_for_a_key() -> None:
    with serving({MODELS: (401, {})}) as (url, asked), pytest.raises(UsageError) as error:
        ask(url)
    assert str(error.value) == (
        f"endpoint: {url} asks for a key: put it into an environment variable, and name that by key_variable in "
        "run.settings (HTTP 401)"
    )
    assert asked == [(MODELS, "Bearer none")]


@pytest.mark.parametrize(
    ("answers", "notice"),
    [
        ({MODELS: (503, {})}, "answers HTTP 503: the run begins, and repeats its requests while they fail"),
        ({CHAT: (429, {})}, "answers HTTP 429: the run begins, and repeats its requests while they fail"),
        (
            {CHAT: (400, {"error": {"message": f"an image is missing, {KEY}"}})},
            "does not answer a trial (HTTP 400: an image is missing, ***): the run begins, and may fail likewise",
        ),
    ],
)
def test_what_does_not_hold_up_a_run(answers: Answers, notice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_KEY", KEY)
    with serving(answers) as (url, _):
        assert ask(url, key_variable="SERVER_KEY") == [f"endpoint: {url} {notice}"]


def test_a_slow_server_does_not_hold_up_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_check, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        assert ask(url) == [
            f"endpoint: {url} gives no answer within 0.1 s: the run begins, and repeats its requests while they fail"
        ]


def test_no_server() -> None:
    with serving({}) as (url, _):
        tls = url.replace("http", "https")
        with pytest.raises(UsageError, match=rf"^endpoint: no server answers at {tls} \(TLS: [a-z ]+\): "):
            ask(tls)
    for base, fault in (
        (url, "connection refused"),
        ("http://no-such.invalid/v1", "the name of its host is not known"),
    ):
        with pytest.raises(UsageError) as error:
            ask(base)
        assert str(error.value) == (
            f"endpoint: no server answers at {base} ({fault}): start it, or correct base_url in run.settings; "
            "where only the workers reach it, set check_server to false there"
        )
    assert ask(url, check_server=False) == []
