"""Reads the prompts that a recipe's captions name. Their hashes are in the stored recipe and in the fingerprints."""

import hashlib
from pathlib import Path

from curation.engines.captions.prompts import DEFAULT_PROMPT, MAX_BYTES, PromptTemplate, parse_prompt
from curation.engines.kinds import KINDS
from curation.engines.stages import StageName, get_caption_name, get_kind, make_caption_stage
from pipelines.recipes.annotate import AnnotateRecipe, CaptionEngineOptions, Engines
from schemas.errors import StorageError, UsageError
from schemas.storage.folder import split_path


def settle_prompts(recipe: AnnotateRecipe) -> AnnotateRecipe:
    """Returns the recipe with the hash of each prompt.

    A prompt that can't be read keeps the hash that it has, as its caption may be reused. Raises `UsageError` where it
    has none, or another one.
    """
    engines = recipe.engines
    settled = {make_caption_stage(name): _settle(name, options) for name, options in engines.captions.items()}
    return recipe.model_copy(update={"engines": engines.replace_stages(settled)})


def _settle(name: str, options: CaptionEngineOptions) -> CaptionEngineOptions:
    where = f"engines.captions.{name}.prompt"
    try:
        content = _read_prompt(options, where)
    except UsageError:
        if options.prompt_sha256 is None:
            raise
        return options
    sha256 = hashlib.sha256(content).hexdigest()
    if options.prompt_sha256 not in (None, sha256):
        raise UsageError(
            f"{where}: {options.prompt or 'the prompt that ships'} has changed since this recipe was stored: remove "
            "prompt_sha256 to use it as it is now"
        )
    return options.model_copy(update={"prompt_sha256": sha256})


def load_prompt(engines: Engines, stage: StageName) -> PromptTemplate | None:
    """Returns the prompt of a stage; None for an engine that takes none. Raises `UsageError` for a wrong one."""
    if (name := get_caption_name(stage)) is None:
        return None
    where = f"engines.captions.{name}.prompt"
    options = engines.captions[name]
    place = f"{where} {options.prompt}" if options.prompt else where
    return parse_prompt(_read_prompt(options, where), place, _list_earlier(engines, stage))


def list_inputs(engines: Engines, stage: StageName) -> list[StageName]:
    """Returns the earlier stages whose output a stage reads. Raises `UsageError` for a wrong prompt."""
    if get_kind(stage) == "boxes":
        return ["tags"]
    prompt = load_prompt(engines, stage)
    inputs = prompt.list_inputs() if prompt else []
    return [name if name in KINDS else make_caption_stage(name) for name in inputs]


def _list_earlier(engines: Engines, stage: StageName) -> list[str]:
    """Returns what a prompt may name: the kinds of engines before its caption, and the names of earlier captions."""
    stages = list(engines.list_stages())
    return [get_caption_name(earlier) or earlier for earlier in stages[: stages.index(stage)]]


def _read_prompt(options: CaptionEngineOptions, where: str) -> bytes:
    if options.prompt is None:
        return DEFAULT_PROMPT.encode()
    try:
        if "://" in options.prompt:
            folder, path = split_path(options.prompt)
            return folder.read(path)
        with Path(options.prompt).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except StorageError as error:
        raise UsageError(f"{where}: {error}") from None
    except OSError as error:
        raise UsageError(f"{where}: cannot read {options.prompt}: {error.strerror}") from None
