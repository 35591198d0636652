"""An OpenAI-compatible server that answers by the pixels' hash and the prompt, and fails in every way that servers do.

The same image and prompt meet the same faults, in the same order, whoever asks: a test knows what each must come to.
"""

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

OUTCOMES = (
    "ok",
    "ok",
    "ok",
    "rate",
    "down",
    "reset",
    "cut",
    "garbled",
    "slow",
    "refused",
    "filtered",
    "truncated",
    "bad",
)
"""What an image may meet. All but the last four end well."""

TEXT_ALONE = "text"  # the hash of a request without an image


def hash_pixels(data: bytes) -> str:
    """The hash of an encoded image's pixels."""
    return hashlib.sha256(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).tobytes()).hexdigest()[:16]


def hash_data_url(url: str) -> str:
    """The hash of the pixels in a `data:` URL."""
    return hash_pixels(base64.b64decode(url.partition(",")[2]))


def write_caption(pixels: str, prompt: str) -> str:
    """The caption of an image, by its pixels' hash, for a prompt."""
    return f"pixels {pixels} for {hashlib.sha256(prompt.encode()).hexdigest()[:16]}"


def meet_faults(pixels: str) -> str:
    """What the image with this hash meets, one of `OUTCOMES`."""
    return OUTCOMES[int(pixels, 16) % len(OUTCOMES)] if pixels != TEXT_ALONE else "ok"


def meet_none(_: str) -> str:
    """What an image meets where all goes well."""
    return "ok"


def hold_none(_: object, __: str) -> bool:
    """Whether an answer waits where none does."""
    return False


@dataclass
class CaptionServer:
    """Holds what the server does and what it has seen."""

    choose: Callable[[str], str] = meet_none
    choose_by_prompt: Callable[[str], str] | None = None  # in place of it, of the prompt
    write: Callable[[str, str], str] = write_caption  # of an image's hash and the prompt
    key: str | None = None  # that a request must have
    delay: float = 0.0  # seconds up to which answers wait, by the image, so that they leave in another order
    tokens: tuple[int, int] = (100, 10)  # of each prompt and of each answer
    models: tuple[str, ...] | None = ("m",)  # that it lists; None: it has no list
    holds: "Callable[[CaptionServer, str], bool]" = hold_none  # whether the answer about these pixels must wait
    asked: list[tuple[str, str]] = field(default_factory=list)  # hash and prompt of each request, as it arrived
    answered: list[tuple[str, str]] = field(default_factory=list)  # those that got a whole answer of a model
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    url: str = ""
    _tries: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the requests of one connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._serve_one(reader, writer):
                pass
        writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            method, path = head.split()[:2]
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            exact = next((line[15:] for line in head.split("\r\n") if line.lower().startswith("authorization")), "")
            body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
            self.headers.append(headers | {"authorization": exact})
            if method == "POST":
                self.bodies.append(body)
            if self.key is not None and exact != f"Bearer {self.key}":
                return _respond(writer, 401, {"error": {"message": f"wrong key {exact}"}})
            if not path.startswith("/v1/"):
                return _respond(writer, 307, {}, f"Location: {self.url.replace('/v1', '/elsewhere')}\r\n")
            if method == "GET":
                return self._list_models(writer, path)
            return await self._answer(reader, writer, body, exact)
        finally:
            self.in_flight -= 1

    def _list_models(self, writer: asyncio.StreamWriter, path: str) -> bool:
        if path != "/v1/models" or self.models is None:
            return _respond(writer, 404, {"detail": "Not Found"})
        return _respond(writer, 200, {"object": "list", "data": [{"id": name} for name in self.models]})

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: dict[str, Any], key: str
    ) -> bool:
        parts = body["messages"][0]["content"]
        prompt = next(part["text"] for part in parts if part["type"] == "text")
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        pixels = hash_data_url(urls[0]) if urls else TEXT_ALONE
        asked = (pixels, prompt)
        self.asked.append(asked)
        self._tries[asked] += 1
        tries, outcome = self._tries[asked], self.choose(pixels)
        if self.choose_by_prompt is not None:
            outcome = self.choose_by_prompt(prompt)
        if self.delay:
            await asyncio.sleep(self.delay * (int(hashlib.sha256(repr(asked).encode()).hexdigest(), 16) % 8) / 8)
        while self.holds(self, pixels):
            if reader.at_eof():  # the client has gone
                return False
            await asyncio.sleep(0.01)
        match outcome:
            case "rate" if tries == 1:
                return _respond(writer, 429, {"error": {"message": "too many"}}, "Retry-After: 0.3\r\n")
            case "down" if tries <= 2:
                return _respond(writer, 503, {"error": {"message": "loading"}})
            case "reset" if tries == 1:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            case "cut" if tries == 1:
                writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"choi')
                return False
            case "garbled" if tries == 1:
                return _respond(writer, 200, {"choices": [{"message": {"content": 7}}]})
            case "slow" if tries == 1:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 30)  # until the client hangs up
                return False
            case "filtered":
                return _respond(writer, 400, {"error": {"message": "no", "code": "content_filter"}})
            case "unauthorized":
                return _respond(writer, 401, {"error": {"message": "no such key"}})
            case "bad":
                return _respond(writer, 400, {"error": {"message": f"no such image\nfor {key}"}})
        self.answered.append(asked)
        text = self.write(pixels, prompt)
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if outcome == "refused":
            message |= {"content": None, "refusal": "I can't help with that."}
        reason = "length" if outcome == "truncated" else "stop"
        counts = {
            "prompt_tokens": self.tokens[0],
            "completion_tokens": self.tokens[1],
            "total_tokens": sum(self.tokens),
        }
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return _respond(writer, 200, {"id": "x", "object": "chat.completion", "choices": [choice], "usage": counts})


def _respond(writer: asyncio.StreamWriter, status: int, body: dict[str, Any], headers: str = "") -> bool:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{headers}Content-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    return True


@contextlib.contextmanager
def running_server(**options: Any) -> Iterator[CaptionServer]:
    """A server on this machine, in a thread of this process."""
    server, loop, ready = CaptionServer(**options), asyncio.new_event_loop(), threading.Event()

    async def run() -> None:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, limit=1 << 24)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        ready.set()
        with contextlib.suppress(asyncio.CancelledError):
            await listening.serve_forever()

    async def stop() -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        thread.join()
