"""Engines as the command line names them, as the `engines` of a recipe."""

from collections.abc import Mapping
from typing import Any

from curation.engines.kinds import KINDS
from curation.engines.registry import default_engine
from schemas.errors import UsageError


def engines_of(
    words: str | None,
    weights: list[str] | None = None,
    vocabulary: str | None = None,
    allow_download: bool | None = None,
    allow_out_of_vocabulary: bool | None = None,
    held: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """`ocr,tags:siglip` as specs, with their settings, to be laid over the engines that are `held`.

    A kind alone stands for the engine that is held, or else for the one that runs on a laptop. Raises `UsageError` for
    settings of an engine that is neither asked for nor held.
    """
    held = held or {}
    specs: dict[str, dict[str, Any]] = {}
    for word in words.split(",") if words else ():
        kind, _, engine = word.partition(":")
        default = None  # the one that is held
        if kind not in held:
            default = default_engine(kind) if kind in KINDS else ""  # left for the recipe to refuse
        specs[kind] = {"engine": engine or default}
    if allow_download and not weights:
        raise UsageError("--allow-download: pass --weights ENGINE=NAME with it")
    settings: dict[str, dict[str, Any]] = {}
    flags: dict[str, str] = {}  # the first that is a kind's
    for word in weights or ():
        kind, found, folder = word.partition("=")
        if not found:
            raise UsageError(f"--weights {word}: say whose they are, as boxes={word}")
        settings[kind] = {"weights": folder} | ({"allow_download": True} if allow_download else {})
        flags.setdefault(kind, f"--weights {word}")
    if vocabulary is not None:
        settings.setdefault("tags", {})["vocabulary"] = vocabulary
        flags.setdefault("tags", "--vocabulary")
    if allow_out_of_vocabulary:
        settings.setdefault("boxes", {})["allow_out_of_vocabulary"] = True
        flags.setdefault("boxes", "--allow-out-of-vocabulary")
    for kind, values in settings.items():
        if kind not in specs and kind not in held:
            raise UsageError(f"{flags[kind]}: {kind} is not among the engines")
        specs.setdefault(kind, {})["settings"] = values
    return specs


def held_engines(values: dict[str, Any], words: str | None = None) -> dict[str, Any]:
    """The engines in a recipe's values; with `words`, as `engines_of` takes them, all others are taken out of it."""
    held = values.get("engines")
    if not isinstance(held, dict):  # left for the recipe to refuse
        return {}
    if words is not None:
        asked = {word.partition(":")[0] for word in words.split(",")}
        values["engines"] = held = {kind: spec for kind, spec in held.items() if kind in asked}
    return held
