"""Decodes images that rows hold as text in base64, and tells them from names of files."""

import base64
import binascii

from schemas.records.quarantine import Reason, Rejected

MAX_NAME = 255  # characters of a name without a dot; the smallest image has about as many


def is_name(text: str) -> bool:
    """Returns whether a text is the name or the address of a file: base64 has neither a dot nor a colon."""
    return "." in text or ":" in text


def decode_image(text: str) -> bytes:
    """Returns the bytes of an image in base64, with or without line ends. Raises `Rejected`."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Rejected(Reason.DECODE_ERROR, "its image is not base64") from None
