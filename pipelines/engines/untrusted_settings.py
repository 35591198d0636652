"""Keeps a data set's stored recipe from deciding what is read or downloaded when engines are added to the set.

The recipe comes with the data, which may come from somebody else. Engines whose annotations exist already do not run
and read nothing that it names. An engine that runs takes weights, word lists, prompts and permission to download from
the user alone.
"""

from collections.abc import Collection, Mapping
from typing import Any

from curation.engines.registry import find_engine
from curation.engines.stages import StageName
from pipelines.recipes.annotate import EngineOptions
from schemas.errors import UsageError
from schemas.output_set.recipe_file import format_value

PROMPT = "prompt"  # of a caption: a file, whose text is sent to where the caption's engine runs

_FLAGS = {
    "weights": "--weights {kind}={value}",
    "allow_download": "--weights {kind}=NAME --allow-download",
    "vocabulary": "--vocabulary {value}",
}


def refuse_untrusted_settings(
    where: str,
    engines: Mapping[StageName, EngineOptions],
    reused: Collection[StageName],
    given: Mapping[str, Mapping[str, Any]],
    otherwise: str = "a recipe with run.reuse",
) -> None:
    """Raises `UsageError` where an engine would use a resource that only the set's recipe, at `where`, names.

    `engines` are those of the set, overridden by the user's `given` ones; those in `reused` will not run.
    `otherwise` is what to pass for a setting that has no flag.
    """
    for stage, options in engines.items():
        for name in _list_untrusted_settings(stage, options, reused, "boxes" in engines and "boxes" not in reused):
            value = getattr(options, name, None) if name == PROMPT else options.settings.get(name)
            if value in (None, False) or name in (given.get(stage, {}).get("settings") or {}):
                continue
            flag = _FLAGS[name].format(kind=stage, value=value) if name in _FLAGS else otherwise
            raise UsageError(
                f"{where} sets {name} of {stage} to {format_value(value)}, and a set does not decide that: "
                f"pass {flag} if you want it"
            )


def _list_untrusted_settings(
    stage: StageName, options: EngineOptions, reused: Collection[StageName], adds_boxes: bool
) -> Collection[str]:
    """Returns the settings that are used only if the user names them."""
    declaration = find_engine(stage, options.engine)
    names = options.settings if declaration.restricted_settings is None else declaration.restricted_settings
    if stage not in reused:
        return [*names, PROMPT]
    needs_words = adds_boxes and declaration.vocabulary is not None  # demonstration weights are checked against them
    return [name for name in names if needs_words and name not in ("weights", "allow_download")]
