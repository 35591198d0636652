"""Writes the dataset card of an output set: a page for people, with front matter by which `datasets` loads the set.

`datasets` would otherwise take the files of `index/` and `quarantine/` for data, and of a tar only the columns of the
first samples (docs/formats.md §9). The last line seals the card, so that one that a person has edited is recognised.
"""

import hashlib
import re
from typing import Any

import yaml

from schemas.output_set.layout import CARD, MAX_MANIFEST
from schemas.output_set.recipe_file import dump_yaml
from schemas.storage.folder import Folder, UnsafeFile
from schemas.strict_yaml import load_yaml

_SEAL = re.compile(rb"<!-- written by shardloom and not edited: sha256 ([0-9a-f]{64}) -->\n")
_FRONT_MATTER = re.compile(rb"---\n(.*?\n)---\n", re.DOTALL)


def build_card(metadata: dict[str, Any], page: str) -> bytes:
    """Returns a sealed card of this front matter and this Markdown."""
    text = b"---\n" + dump_yaml(metadata) + b"---\n\n" + page.encode()
    return text + _make_seal(text)


def read_card(output: Folder) -> bytes | None:
    """Returns the card of a set, or None if it has none. One that is no regular file of the set counts as empty."""
    if not output.exists(CARD):
        return None
    try:
        return output.read_inside(CARD, MAX_MANIFEST)
    except UnsafeFile:
        return b""


def is_edited(card: bytes) -> bool:
    """Returns whether a person has written or changed the card."""
    seal = _SEAL.search(card)
    return seal is None or _make_seal(card[: seal.start()]) != card[seal.start() :]


def read_metadata(card: bytes) -> dict[str, Any]:
    """Returns the front matter of a card; empty if it has none, or none that can be read."""
    found = _FRONT_MATTER.match(card)
    try:
        values = load_yaml(found[1]) if found else None
    except (yaml.YAMLError, ValueError):
        values = None
    return values if isinstance(values, dict) else {}


def _make_seal(text: bytes) -> bytes:
    return f"<!-- written by shardloom and not edited: sha256 {hashlib.sha256(text).hexdigest()} -->\n".encode()
