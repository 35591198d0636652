"""Masks secrets in all that is shown or stored: a URL's user and password, and its query, which may be a signature.

A path without a protocol is left unchanged, and so is the `?` of a glob.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MASK = "***"

_NAMED_BEFORE_AT = {"abfs", "abfss", "wasb", "wasbs", "az", "adl"}  # CONTAINER@ACCOUNT, without a secret
_REFERENCES = ("anon", "cloud", "browser", "google_default")  # values of gcsfs's `token` that are not secrets
_WORD = re.compile(r"\S+")
_SCHEME = re.compile(r"(['\"]?)([a-z0-9+.-]{1,32})://", re.IGNORECASE)  # bounded, so that a search takes linear time
_USER_NAME = re.compile(r"[^:@\[]*:(?!\d*\Z)")  # and a colon, which no port follows
_TRAILING = "'\":;,.)]"  # characters of the sentence that a URL is in
_SECRET = re.compile(
    r"secret|passw|passphrase|token|credential|connection_string|signature|authori[sz]ation|cookie|private|bearer"
    r"|(^|[_-])(sas|auth|pass|pwd|jwt|pat)([_-]|$)|key$",
    re.IGNORECASE,
)


def mask_secrets(text: str) -> str:
    """Returns the text with the user and the query of each URL masked: `sftp://***@host/a`, `https://host/a?***`.

    A URL ends at white space, or at the quote that it began with. Takes linear time, because names of files and fields
    of JSON, which may be hostile, are masked too.
    """
    if "://" not in text:
        return text
    return _WORD.sub(lambda found: _mask_queries(_mask_users(found[0])) if "://" in found[0] else found[0], text)


class _Cursor:
    """Finds the next occurrence of a pattern from positions that never decrease; scans a text once."""

    def __init__(self, pattern: str, text: str) -> None:
        self._pattern, self._text, self._at = re.compile(pattern), text, -1

    def find(self, start: int) -> int:
        """Returns the position of the first occurrence at or after `start`, or the text's length."""
        if self._at < start:
            found = self._pattern.search(self._text, start)
            self._at = len(self._text) if found is None else found.start()
        return self._at


def _iterate_urls(word: str) -> Iterator[tuple[str, int, int]]:
    """Yields the protocol of each URL, the position after its `://`, and where it ends at the latest."""
    quotes = {quote: _Cursor(rf"(?<!\\){quote}", word) for quote in "'\""}  # `repr` and JSON escape those inside
    for found in _SCHEME.finditer(word):
        yield found[2].lower(), found.end(), quotes[found[1]].find(found.end()) if found[1] else len(word)


def _mask_users(word: str) -> str:
    """Masks what is before the last `@`: a password may contain `@`, `/` and quotes, although it should not."""
    last, done, parts = word.rfind("@"), 0, list[str]()
    slashes = _Cursor("/", word)
    for protocol, start, end in _iterate_urls(word):
        if not done <= start <= last:
            continue
        authority = word[start : min(end, slashes.find(start))]
        user, at, _ = authority.rpartition("@")
        if not at and _USER_NAME.match(authority):
            user, at, _ = word[start:end].rpartition("@")
        if at and (protocol not in _NAMED_BEFORE_AT or ":" in user):
            parts += [word[done:start], MASK]
            done = start + len(user)
    return "".join([*parts, word[done:]])


def _mask_queries(word: str) -> str:
    """Masks what follows a `?`. In paths of object stores, a `?` is a glob, unless a `=` follows."""
    done, parts = 0, list[str]()
    marks, fragments, equals = _Cursor(r"\?", word), _Cursor("#", word), _Cursor("=", word)
    for protocol, start, end in _iterate_urls(word):
        if start < done or (first := marks.find(start) + 1) > end:
            continue
        end = min(end, fragments.find(first))
        is_query = protocol in ("http", "https") or equals.find(first) < end - 1
        if is_query and (query := word[first:end].rstrip(_TRAILING)):
            parts += [word[done:first], MASK]
            done = first + len(query)
    return "".join([*parts, word[done:]])


def mask_values(value: Any) -> Any:
    """Returns plain data (dicts, lists, scalars) with every string in it `mask_secrets`."""
    if isinstance(value, dict):
        return {key: mask_values(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [mask_values(inner) for inner in value]
    return mask_secrets(value) if isinstance(value, str) else value


def find_secret(name: str, value: Any) -> str | None:
    """Returns the dotted name of the first option that holds a secret, by its name or value; None if there is none.

    Options nested in dicts and lists are searched too. A reference to a secret is not a secret: `profile`,
    `key_filename`, or a `token` that is the path of a file or a word such as `cloud`.
    """
    if isinstance(value, dict):
        found = (find_secret(str(key), inner) for key, inner in value.items())
        return next((f"{name}.{inner}" for inner in found if inner is not None), None)
    if isinstance(value, list):
        return next((inner for each in value if (inner := find_secret(name, each)) is not None), None)
    if isinstance(value, str) and mask_secrets(value) != value:
        return name
    return name if _SECRET.search(name) and not _is_reference(value) else None


def _is_reference(value: Any) -> bool:
    if not isinstance(value, str):
        return value is None or isinstance(value, bool)
    with contextlib.suppress(OSError, ValueError):
        return value in _REFERENCES or Path(value).expanduser().is_file()
    return False
