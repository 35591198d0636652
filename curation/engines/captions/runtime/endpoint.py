"""Asks an OpenAI-compatible server for captions, by the official client, with a bounded number of requests at a time.

Each request is awaited by its own task, and its answer carries its id: the order in which a server answers does not
matter. The client's own retries are off, because they are few and know no patience.
"""

import asyncio
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import httpx2
import openai

from curation.engines.captions.endpoint_settings import RUN_SETTINGS, EndpointSettings
from curation.engines.captions.runtime.completions import REFUSAL_REASON, MalformedAnswer, read_completion
from curation.engines.captions.runtime.pictures import encode_image
from curation.engines.captions.runtime.retries import compute_delay, may_pass
from curation.engines.kinds import CaptionAnswer, CaptionRequest
from schemas.errors import to_one_line
from schemas.records.fingerprint import EngineFingerprint

NO_KEY = "none"  # the client takes no empty key; without `key_variable` it must not send the one of OPENAI_API_KEY
_MAX_DETAIL = 300  # characters of a server's message


class Endpoint:
    """Implements `CaptionEngine`."""

    def __init__(self, settings: EndpointSettings) -> None:
        """Makes the client, which connects at the first request. Takes the key from the environment."""
        self.settings = settings
        self.fingerprint = EngineFingerprint(
            name="endpoint",
            version=f"pillow {version('pillow')}",  # it encodes the images
            weights_sha256="",  # the server's own
            settings=settings.model_dump(exclude=set(RUN_SETTINGS)),
        )
        for name in ("openai", "httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.WARNING)  # they log each request
        self._key = os.environ.get(settings.key_variable, "") if settings.key_variable else ""
        self._runner = asyncio.Runner()
        self._client = self._make_client()

    def _make_client(self) -> openai.AsyncOpenAI:
        # The task has the one bound on time, over connecting, sending and reading.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=self.settings.in_flight)
        http = httpx2.AsyncClient(follow_redirects=False, timeout=None, limits=limits)
        return openai.AsyncOpenAI(
            api_key=self._key or NO_KEY, base_url=self.settings.base_url, max_retries=0, timeout=None, http_client=http
        )

    def annotate(self, requests: Sequence[CaptionRequest]) -> list[CaptionAnswer]:
        """Returns the answers, in the order of the requests. What the server does not answer has the status `error`."""
        return self._runner.run(self._ask_all(requests))

    async def _ask_all(self, requests: Sequence[CaptionRequest]) -> list[CaptionAnswer]:
        answers: dict[int, CaptionAnswer] = {}
        waiting = iter(enumerate(requests))

        async def work(waiting: Iterator[tuple[int, CaptionRequest]]) -> None:
            for place, request in waiting:
                answers[place] = await self._ask(request)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.settings.in_flight, len(requests))):
                group.create_task(work(waiting))
        return [answers[place] for place in range(len(requests))]

    async def _ask(self, request: CaptionRequest) -> CaptionAnswer:
        """Asks until there is an answer, or a fault that will not pass, or the patience ends."""
        loop = asyncio.get_running_loop()
        deadline, tries = loop.time() + self.settings.patience_seconds, 0
        messages: list[Any] = []
        while True:
            tries += 1
            headers: Mapping[str, str] = {}
            try:
                async with asyncio.timeout(self.settings.timeout_seconds):
                    messages = messages or await asyncio.to_thread(self._build_messages, request)
                    return read_completion(request.id, await self._send(messages))
            except openai.APIStatusError as error:
                if error.status_code == 400 and error.code == REFUSAL_REASON:
                    return CaptionAnswer(request.id, "", "refused", REFUSAL_REASON)
                message = error.message.removeprefix(f"Error code: {error.status_code} - ")
                fault, headers = f"HTTP {error.status_code}: {message}", error.response.headers
                is_final = not may_pass(error.status_code)
            except TimeoutError:
                fault, is_final = f"no answer within {self.settings.timeout_seconds:g} s", False
            except (openai.APIConnectionError, httpx2.HTTPError) as error:
                fault, is_final = f"connection lost: {to_one_line(error.__cause__ or error, with_type=True)}", False
            except MalformedAnswer as error:
                fault, is_final = str(error), False
            except Exception as error:  # noqa: BLE001  one request must not end those of its neighbours
                fault, is_final = to_one_line(error, with_type=True), True
            delay = compute_delay(tries, headers)
            if is_final or loop.time() + delay > deadline:
                return self._make_error(request, fault if is_final else f"given up, {fault}")
            await asyncio.sleep(delay)

    async def _send(self, messages: list[Any]) -> bytes:
        """Sends one request and returns the body of the response. Raises the client's exceptions."""
        settings = self.settings
        sampling = {"temperature": settings.temperature, "top_p": settings.top_p, "seed": settings.seed}
        options: dict[str, Any] = {name: value for name, value in sampling.items() if value is not None}
        options[settings.max_tokens_parameter] = settings.max_tokens
        raw = await self._client.chat.completions.with_raw_response.create(
            model=settings.model, messages=messages, **options
        )
        return bytes(raw.content)

    def _build_messages(self, request: CaptionRequest) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = [{"type": "text", "text": request.prompt}]
        if request.image is not None:
            url = encode_image(request.image, self.settings)
            content.insert(0, {"type": "image_url", "image_url": {"url": url}})
        return [{"role": "user", "content": content}]

    def _make_error(self, request: CaptionRequest, fault: str) -> CaptionAnswer:
        """Returns the answer for a fault. A server may repeat the key in its message."""
        detail = fault.replace(self._key, "***") if self._key else fault
        return CaptionAnswer(request.id, "", "error", detail=to_one_line(ValueError(detail), _MAX_DETAIL))
