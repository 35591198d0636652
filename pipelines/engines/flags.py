"""Translates the command line's engine flags into the `engines` of a recipe.

An engine is named by its kind, and a caption's by `captions.NAME`, or `captions` alone where there is one caption.
"""

import difflib
import os
from collections.abc import Mapping
from typing import Any

from curation.engines.kinds import CAPTIONS, KINDS, EngineKind
from curation.engines.registry import ENGINES, find_default_engine
from curation.engines.stages import StageName, get_caption_name, get_kind, make_caption_stage
from schemas.errors import UsageError
from schemas.output_set.recipe_file import format_value

DEFAULT_CAPTION = "dense"
"""The name of a caption that a command names by its engine alone."""


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
    held = list_stored_stages(stored or {})
    specs: dict[StageName, dict[str, Any]] = {}
    for word in words.split(",") if words else ():
        name, _, engine = word.strip().partition(":")
        if not is_stage(name):
            raise UsageError(f"{format_value(word.strip())} is no engine: {suggest_engines(name)}")
        for stage in find_stages(name, held, names_engine=bool(engine)):
            if not engine and stage not in held:
                engine = find_default_engine(get_kind(stage))
            specs[stage] = {"engine": engine or None}  # None keeps the stored engine
    if allow_download and not weights:
        raise UsageError("--allow-download: pass --weights ENGINE=NAME with it")
    settings: dict[StageName, dict[str, Any]] = {}
    flags: dict[StageName, str] = {}  # stage -> the first flag for it
    for word in weights or ():
        name, found, folder = word.partition("=")
        if not found:
            raise UsageError(f"--weights {word}: name their engine, for example boxes={word}")
        [stage] = find_stages(name, specs | held, names_engine=True)
        settings[stage] = {"weights": folder} | ({"allow_download": True} if allow_download else {})
        flags.setdefault(stage, f"--weights {word}")
    if vocabulary is not None:
        settings.setdefault("tags", {})["vocabulary"] = vocabulary
        flags.setdefault("tags", "--vocabulary")
    if allow_out_of_vocabulary:
        settings.setdefault("boxes", {})["allow_out_of_vocabulary"] = True
        flags.setdefault("boxes", "--allow-out-of-vocabulary")
    for stage, values in settings.items():
        if stage not in specs and stage not in held:
            more = "" if is_stage(stage) else f": {suggest_engines(stage)}"
            raise UsageError(f"{flags[stage]}: {stage} is not among the engines{more}")
        specs.setdefault(stage, {})["settings"] = values
    return _nest(specs)


def is_stage(name: str) -> bool:
    """Returns whether a word names a kind of engine, or a caption."""
    return name in KINDS or (get_kind(name) == CAPTIONS.name and bool(get_caption_name(name)))


def find_stages(name: str, held: Mapping[StageName, Any], *, names_engine: bool) -> list[StageName]:
    """Returns the stages that a word stands for: `captions` alone stands for all captions in `held`.

    Raises `UsageError` where it is to be one stage and there are several.
    """
    if name != CAPTIONS.name:
        return [name]
    stages = [stage for stage in held if get_caption_name(stage)]
    if names_engine and len(stages) > 1:
        raise UsageError(f"there are several captions: name one of {', '.join(stages)}")
    return stages or [make_caption_stage(DEFAULT_CAPTION)]


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
        kinds: set[EngineKind] = {get_kind(name) for name in asked}
        values["engines"] = stored = {kind: spec for kind, spec in stored.items() if kind in kinds}
        captions = stored.get(CAPTIONS.name)
        if isinstance(captions, dict) and CAPTIONS.name not in asked:
            stored[CAPTIONS.name] = {name: spec for name, spec in captions.items() if make_caption_stage(name) in asked}
    return stored


def list_stored_stages(stored: Mapping[str, Any]) -> dict[StageName, Any]:
    """Returns the engines in a recipe's values, which are not validated yet, by their stages."""
    stages = {kind: spec for kind, spec in stored.items() if kind != CAPTIONS.name}
    captions = stored.get(CAPTIONS.name)
    named = captions if isinstance(captions, dict) else {}
    return stages | {make_caption_stage(str(name)): spec for name, spec in named.items()}


def _nest(specs: Mapping[StageName, Any]) -> dict[str, Any]:
    """Returns specs by stage as a recipe has them, with captions in a group of their own."""
    nested: dict[str, Any] = {}
    for stage, spec in specs.items():
        name = get_caption_name(stage)
        group = nested if name is None else nested.setdefault(CAPTIONS.name, {})
        group[name or stage] = spec
    return nested
