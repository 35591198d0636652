"""Translates the command line's engine flags into the `engines` of a recipe."""

import difflib
import os
from collections.abc import Mapping
from typing import Any

from curation.engines.kinds import KINDS
from curation.engines.registry import ENGINES, find_default_engine
from schemas.errors import UsageError
from schemas.output_set.recipe_file import format_value


def parse_engines(
    words: str | None,
    weights: list[str] | None = None,
    vocabulary: str | None = None,
    allow_download: bool | None = None,
    allow_out_of_vocabulary: bool | None = None,
    stored: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns words such as `ocr,tags:siglip` and the flags' settings as specs that override the engines in `stored`.

    A kind without an engine stands for the stored engine of that kind, else for the kind's default, which runs on a
    laptop. Raises `UsageError` for a word that names no engine, and for settings of an engine that is neither requested
    nor stored.
    """
    stored = stored or {}
    specs: dict[str, dict[str, Any]] = {}
    for word in words.split(",") if words else ():
        kind, _, engine = word.strip().partition(":")
        if kind not in KINDS:
            raise UsageError(f"{format_value(word.strip())} is no engine: {suggest_engines(kind)}")
        default = None if kind in stored else find_default_engine(kind)  # None keeps the stored engine
        specs[kind] = {"engine": engine or default}
    if allow_download and not weights:
        raise UsageError("--allow-download: pass --weights ENGINE=NAME with it")
    settings: dict[str, dict[str, Any]] = {}
    flags: dict[str, str] = {}  # kind -> the first flag for it
    for word in weights or ():
        kind, found, folder = word.partition("=")
        if not found:
            raise UsageError(f"--weights {word}: name their engine, for example boxes={word}")
        settings[kind] = {"weights": folder} | ({"allow_download": True} if allow_download else {})
        flags.setdefault(kind, f"--weights {word}")
    if vocabulary is not None:
        settings.setdefault("tags", {})["vocabulary"] = vocabulary
        flags.setdefault("tags", "--vocabulary")
    if allow_out_of_vocabulary:
        settings.setdefault("boxes", {})["allow_out_of_vocabulary"] = True
        flags.setdefault("boxes", "--allow-out-of-vocabulary")
    for kind, values in settings.items():
        if kind not in specs and kind not in stored:
            more = "" if kind in KINDS else f": {suggest_engines(kind)}"
            raise UsageError(f"{flags[kind]}: {kind} is not among the engines{more}")
        specs.setdefault(kind, {})["settings"] = values
    return specs


def suggest_engines(word: str) -> str:
    """Returns what to type in place of a word that names no kind of engine."""
    names = {name: f"{engine.kind.name}:{name}" for name, engine in ENGINES.shipped.items()}
    words: dict[str, str] = {kind: kind for kind in KINDS} | names
    if close := difflib.get_close_matches(word.lower(), words, n=1):
        return f"did you mean {words[close[0]]}?"
    if os.path.isdir(word):  # noqa: PTH112  any text may be given
        return f"if it is an annotation set, add engines to it by shardloom annotate {word} --add ENGINES"
    if "/" in word or "*" in word or "." in word:
        return "name engines first, such as ocr,tags; images by --input, a recipe by --recipe"
    *others, last = KINDS
    return f"use {', '.join(others)} or {last}, or several, such as ocr,tags"


def select_stored_engines(values: dict[str, Any], words: str | None = None) -> dict[str, Any]:
    """Returns the engines in a recipe's values; with `words` (see `parse_engines`), removes those not named there."""
    stored = values.get("engines")
    if not isinstance(stored, dict):  # the recipe refuses it
        return {}
    if words is not None:
        asked = {word.strip().partition(":")[0] for word in words.split(",")}
        values["engines"] = stored = {kind: spec for kind, spec in stored.items() if kind in asked}
    return stored
