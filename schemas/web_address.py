"""Tells addresses of the web from all else that stands in their place."""

import re

_WEB = re.compile(r"[\x00-\x20]*https?://[^\s/?#\\].*", re.IGNORECASE | re.DOTALL)


def is_web_address(text: str) -> bool:
    """Says whether this is an http or https address of some host, and text.

    It need not be well-formed: as a browser would, the downloader quotes spaces, and letters of any script.
    """
    return _WEB.fullmatch(text) is not None and _is_text(text)


def _is_text(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:  # half a character
        return False
