"""Masks secrets in all that is shown or stored: a URL's user and password, and its query, which may be a signature.

A path without a protocol is left unchanged, and so is the `?` of a glob.
"""

import contextlib
import re
from pathlib import Path
from typing import Any

MASK = "***"

_NAMED_BEFORE_AT = {"abfs", "abfss", "wasb", "wasbs", "az", "adl"}  # CONTAINER@ACCOUNT, without a secret
_REFERENCES = ("anon", "cloud", "browser", "google_default")  # values of gcsfs's `token` that are not secrets
_USER = re.compile(  # a password may contain `@` and `/`, although it should not
    r"\b([a-z][a-z0-9+.-]*)://([^\s/'\"]*|[^\s/'\":@\[]*:(?!\d*/)[^\s'\"]*)@", re.IGNORECASE
)
_QUERY = re.compile(  # in paths of object stores, a `?` is a glob, unless a `=` follows
    r"(\bhttps?://[^\s?'\"]*)\?[^\s'\"#]*[^\s'\"#:;,.)\]]"
    r"|(\b[a-z][a-z0-9+.-]*://[^\s?'\"]*)\?[^\s'\"#]*=[^\s'\"#]*[^\s'\"#:;,.)\]]",
    re.IGNORECASE,
)
_SECRET = re.compile(
    r"secret|passw|passphrase|token|credential|connection_string|signature|authori[sz]ation|cookie|private|bearer"
    r"|(^|[_-])(sas|auth|pass|pwd|jwt|pat)([_-]|$)|key$",
    re.IGNORECASE,
)


def mask_secrets(text: str) -> str:
    """Returns the text with the user and the query of each URL masked: `sftp://***@host/a`, `https://host/a?***`."""
    if "://" not in text:
        return text
    return _QUERY.sub(lambda found: f"{found[1] or found[2]}?{MASK}", _USER.sub(_mask_user, text))


def _mask_user(found: re.Match[str]) -> str:
    protocol, user = found.groups()
    return found[0] if protocol.lower() in _NAMED_BEFORE_AT and ":" not in user else f"{protocol}://{MASK}@"


def mask_values(value: Any) -> Any:
    """Returns plain data (dicts, lists, scalars) with every string in it `mask_secrets`."""
    if isinstance(value, dict):
        return {key: mask_values(inner) for key, inner in value.items()}
    if isinstance(value, list):
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
