"""Asks an OpenAI-compatible server for captions, by the official client, with a bounded number of requests at a time.

Each request is awaited by its own task, and its answer carries its id: the order in which a server answers does not
matter. All tasks are in one event loop in a thread of its own, which the calls of `annotate` share: while the last
answers to one batch are outstanding, the requests of the next ones are sent. The client's own retries are off, because
they are few and know no patience.
"""

import asyncio
import logging
import threading
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import httpx2
import openai

from curation.engines.captions.endpoint_settings import NO_KEY, RUN_SETTINGS, EndpointSettings
from curation.engines.captions.runtime.completions import read_completion
from curation.engines.captions.runtime.pictures import encode_image
from curation.engines.captions.runtime.request_faults import Fault, is_refusal, read_fault
from curation.engines.captions.runtime.retried_requests import Report, RetriedRequests
from curation.engines.captions.runtime.retries import compute_delay
from curation.engines.kinds import CaptionAnswer, CaptionRequest, EngineUnusable
from schemas.errors import to_one_line
from schemas.records.fingerprint import EngineFingerprint

_MAX_DETAIL = 300  # characters of a server's message
_ENCODED_AHEAD = 4  # requests that wait encoded for a place, so that none is idle while an image is encoded


class Endpoint:
    """Implements `CaptionEngine`. `annotate` may be called from several threads at once."""

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
        self._key = settings.read_key()
        self._client = self._make_client()
        self._retried = RetriedRequests()
        self._encoded = asyncio.Semaphore(settings.in_flight + _ENCODED_AHEAD)
        self._in_flight = asyncio.Semaphore(settings.in_flight)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True, name="endpoint").start()

    def _make_client(self) -> openai.AsyncOpenAI:
        # The task has the one bound on time, over connecting, sending and reading.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=self.settings.in_flight)
        http = httpx2.AsyncClient(follow_redirects=False, timeout=None, limits=limits)
        return openai.AsyncOpenAI(
            api_key=self._key or NO_KEY, base_url=self.settings.base_url, max_retries=0, timeout=None, http_client=http
        )

    def report_retries_to(self, report: Report) -> None:
        """See `RetryReporter`."""
        self._retried.report = report

    def annotate(self, requests: Sequence[CaptionRequest]) -> list[CaptionAnswer]:
        """Returns the answers, in the order of the requests. What the server does not answer has the status `error`.

        Raises `EngineUnusable` where no request can succeed: without a server, a valid key, or the model.
        """
        return asyncio.run_coroutine_threadsafe(self._ask_all(requests), self._loop).result()

    async def _ask_all(self, requests: Sequence[CaptionRequest]) -> list[CaptionAnswer]:
        tasks = [asyncio.create_task(self._ask(request)) for request in requests]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _ask(self, request: CaptionRequest) -> CaptionAnswer:
        """Encodes the image and asks, as soon as there is a place for the request: the earliest waits first."""
        async with self._encoded:
            try:
                messages = await asyncio.to_thread(self._build_messages, request)
            except Exception as error:  # noqa: BLE001  one image must not end the requests of its neighbours
                return self._make_error(request, to_one_line(error, with_type=True))
            async with self._in_flight:
                try:
                    return await self._ask_patiently(request, messages)
                finally:
                    self._retried.remove(id(request))

    async def _ask_patiently(self, request: CaptionRequest, messages: list[Any]) -> CaptionAnswer:
        """Asks until there is an answer, or a fault that will not pass, or the patience ends."""
        loop, tries = asyncio.get_running_loop(), 0
        deadline = loop.time() + self.settings.patience_seconds
        while True:
            tries += 1
            try:
                async with asyncio.timeout(self.settings.timeout_seconds):
                    return read_completion(request.id, await self._send(messages))
            except Exception as error:  # noqa: BLE001  one request must not end those of its neighbours
                if is_refusal(error):
                    return CaptionAnswer(request.id, "", "refused", "content_filter")
                fault = read_fault(error, self.settings.timeout_seconds)
            if fault.concerns_all:
                raise self._make_unusable(fault)
            if fault.is_final:
                return self._make_error(request, fault.detail)
            delay = compute_delay(tries, fault.headers)
            if loop.time() + delay > deadline:
                if fault.is_unreachable:
                    raise self._make_unusable(fault)
                return self._make_error(request, f"given up, {fault.detail}")
            self._retried.add(id(request), fault.reason)
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

    def _make_unusable(self, fault: Fault) -> EngineUnusable:
        found = f"was not reached for {self.settings.patience_seconds:g} s" if fault.is_unreachable else "refuses"
        detail = self._make_detail(fault.detail)
        return EngineUnusable(
            f"endpoint: {self.settings.base_url} {found} ({detail}): see the server, base_url and the key in "
            "run.settings, and the model; finished work is kept, and the same command resumes the run"
        )

    def _make_error(self, request: CaptionRequest, fault: str) -> CaptionAnswer:
        return CaptionAnswer(request.id, "", "error", detail=self._make_detail(fault))

    def _make_detail(self, fault: str) -> str:
        """Returns a fault in one line, without the key: a server may repeat that in its message."""
        return to_one_line(ValueError(fault.replace(self._key, "***") if self._key else fault), _MAX_DETAIL)
