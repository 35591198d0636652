"""Distinguishes web addresses from other values in their place."""

import re

_WEB = re.compile(r"[\x00-\x20]*https?://[^\s/?#\\].*", re.IGNORECASE | re.DOTALL)


def is_web_address(text: str) -> bool:
    """Returns whether the text is an http or https address with a host.

    It need not be well-formed: like a browser, the downloader quotes spaces and letters of any script.
    """
    return _WEB.fullmatch(text) is not None and _is_text(text)


def _is_text(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:  # a lone surrogate
        return False
