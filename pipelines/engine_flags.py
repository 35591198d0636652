"""Engines as the command line names them, as the `engines` of a recipe."""

from typing import Any

from pipelines.engines import DEFAULT_ENGINES
from schemas.errors import UsageError


def engines_of(
    words: str | None,
    weights: list[str] | None = None,
    vocabulary: str | None = None,
    allow_download: bool | None = None,
    allow_out_of_vocabulary: bool | None = None,
) -> dict[str, Any]:
    """`ocr,tags:siglip` as specs (a kind alone stands for the engine that runs on a laptop), with their settings."""
    specs: dict[str, dict[str, Any]] = {}
    for word in words.split(",") if words else ():
        kind, _, engine = word.partition(":")
        specs[kind] = {"engine": engine or DEFAULT_ENGINES.get(kind, "")}  # type: ignore[call-overload]  # any word
    settings: dict[str, dict[str, Any]] = {}
    for word in weights or ():
        kind, found, folder = word.partition("=")
        if not found:
            raise UsageError(f"--weights {word}: say whose they are, as boxes={word}")
        settings[kind] = {"weights": folder} | ({"allow_download": True} if allow_download else {})
    if vocabulary is not None:
        settings.setdefault("tags", {})["vocabulary"] = vocabulary
    if allow_out_of_vocabulary:
        settings.setdefault("boxes", {})["allow_out_of_vocabulary"] = True
    for kind, values in settings.items():
        specs.setdefault(kind, {})["settings"] = values
    return specs
