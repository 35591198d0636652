"""Asks a server once, before a run, whether it can caption: it is reached, takes the key and knows the model.

It reads the list of models, where the server has one that names the model. If not, it asks for one short answer about
a word, because some servers have no list, and others know a model by more names than they list.
"""

import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2

from curation.engines.captions.endpoint_settings import NO_KEY, EndpointSettings
from curation.engines.captions.runtime.connections import describe_fault
from schemas.errors import UsageError, to_one_line

ANSWER_SECONDS = 5.0  # for each of the two questions: the user waits for them
MAX_BYTES = 16 << 20  # of an answer; the longest list of a provider has one million
TRIAL_TOKENS = 16  # of the short answer; some models refuse fewer
_MAX_NAMES = 5  # of models, in a message
_MAX_DETAIL = 200  # characters of a server's message
_MAY_PASS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class ServerCheck:
    """Asks the server of some settings."""

    def __init__(self, settings: EndpointSettings) -> None:
        self.settings, self.url = settings, str(settings.base_url).rstrip("/")
        self._key = settings.read_key()

    def ask(self) -> list[str]:
        """Returns notices: what is unclear, as where the server is too busy to answer. Raises `UsageError`."""
        limits = httpx2.Timeout(ANSWER_SECONDS)
        headers = {"Authorization": f"Bearer {self._key or NO_KEY}"}
        with httpx2.Client(follow_redirects=False, timeout=limits, headers=headers) as client:
            listed = self._send(client, "GET", "models", None)
            if listed is None or listed.status in _MAY_PASS:
                return [self._describe_busy(listed)]
            names = _read_names(listed)
            if self.settings.model in names:
                return []
            asked = self._send(client, "POST", "chat/completions", self._make_trial())
        if asked is None or asked.status in _MAY_PASS:
            return [self._describe_busy(asked)]
        return self._judge(asked, names)

    def _send(self, client: httpx2.Client, method: str, path: str, body: Any) -> "_Answer | None":
        """Returns the answer; None where there is none in time. Raises `UsageError` where nobody can be asked."""
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            with client.stream(method, f"{self.url}/{path}", json=body) as response:
                self._check_status(response)
                content = b""
                for part in response.iter_bytes():
                    content += part
                    if len(content) > MAX_BYTES or time.monotonic() > deadline:
                        return None
                return _Answer(response.status_code, content)
        except (httpx2.ReadTimeout, httpx2.WriteTimeout):
            return None
        except httpx2.ConnectTimeout:
            raise self._make_error(f"no connection within {ANSWER_SECONDS:g} s") from None
        except httpx2.HTTPError as error:
            raise self._make_error(describe_fault(error)) from None

    def _check_status(self, response: httpx2.Response) -> None:
        """Raises `UsageError` for a redirect, and for a key that is not accepted."""
        if response.has_redirect_location:
            target = urlsplit(urljoin(f"{response.url}", response.headers["location"]))
            raise UsageError(
                f"endpoint: {self.url} redirects to {target.scheme}://{target.netloc}{target.path}, and redirects are "
                "not followed: set base_url in run.settings to the address that is meant"
            )
        if response.status_code == 401:
            found = (
                f"does not accept the key in {self.settings.key_variable}: put a valid one there"
                if self._key
                else "asks for a key: put it into an environment variable, and name that by key_variable in "
                "run.settings"
            )
            raise UsageError(f"endpoint: {self.url} {found} (HTTP 401)")

    def _make_error(self, fault: str) -> UsageError:
        return UsageError(
            f"endpoint: no server answers at {self.url} ({fault}): start it, or correct base_url in run.settings; "
            "where only the workers reach it, set check_server to false there"
        )

    def _describe_busy(self, answer: "_Answer | None") -> str:
        found = f"gives no answer within {ANSWER_SECONDS:g} s" if answer is None else f"answers HTTP {answer.status}"
        return f"endpoint: {self.url} {found}: the run begins, and repeats its requests while they fail"

    def _make_trial(self) -> dict[str, Any]:
        messages = [{"role": "user", "content": [{"type": "text", "text": "Say yes."}]}]  # in the form of a prompt
        limit = {self.settings.max_tokens_parameter: TRIAL_TOKENS}
        return {"model": self.settings.model, "messages": messages} | limit

    def _judge(self, answer: "_Answer", names: Sequence[str]) -> list[str]:
        """Returns notices about the answer to the trial. Raises `UsageError` where each image would get the same."""
        detail = self._hide_key(answer.describe())
        if answer.is_success:
            if isinstance(answer.read(), dict) and "choices" in answer.read():
                return []
            raise UsageError(
                f"endpoint: {self.url} answers, but not as an OpenAI-compatible API: correct base_url in run.settings, "
                "which often ends in /v1"
            )
        if names and answer.status in (400, 404, 422):
            known = ", ".join(names[:_MAX_NAMES]) + (" and others" if len(names) > _MAX_NAMES else "")
            raise UsageError(
                f"endpoint: {self.url} does not know the model {self.settings.model!r}: set model in the engine's "
                f"settings to one of {known}"
            )
        if answer.status in (404, 405):
            raise UsageError(
                f"endpoint: {self.url}/chat/completions is not found, or has no model {self.settings.model!r} "
                f"({detail}): correct base_url in run.settings, or model in the engine's settings"
            )
        if answer.status == 403:
            raise UsageError(
                f"endpoint: {self.url} refuses the request ({detail}): see what the key in "
                f"{self.settings.key_variable or 'key_variable'} may do"
            )
        return [f"endpoint: {self.url} does not answer a trial ({detail}): the run begins, and may fail likewise"]

    def _hide_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


class _Answer:
    """Holds what a server has answered."""

    def __init__(self, status: int, content: bytes) -> None:
        self.status, self.content = status, content
        self.is_success = 200 <= status < 300

    def read(self) -> Any:
        """Returns the answer's JSON; None where it is none."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None

    def describe(self) -> str:
        """Returns the status and the server's message, in one line."""
        found = self.read()
        error = found.get("error", found) if isinstance(found, dict) else None
        message = error.get("message") if isinstance(error, dict) else error
        text = message if isinstance(message, str) else ""
        return f"HTTP {self.status}" + (f": {to_one_line(text, _MAX_DETAIL)}" if text else "")


def _read_names(answer: _Answer) -> list[str]:
    """Returns the names of the models in a list of them; none where the answer is no list."""
    found = answer.read() if answer.is_success else None
    data = found.get("data") if isinstance(found, dict) else None
    entries = data if isinstance(data, list) else []
    return [entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
