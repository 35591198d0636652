"""Loads the templates that ship: `presets/FAMILY/NAME.yaml`. `figure` is the default of each family."""

from functools import cache
from pathlib import Path

from curation.captions.template_file import CaptionTemplate, LoadedTemplate, load_template
from schemas.errors import UsageError

DEFAULT = "figure"

_FOLDER = Path(__file__).parent / "presets"


def list_presets(family: str) -> list[str]:
    """Returns the names of the templates that ship for a family, in alphabetic order."""
    return sorted(path.stem for path in (_FOLDER / family).glob("*.yaml"))


@cache
def load_preset(family: str, name: str) -> LoadedTemplate:
    """Returns a template that ships. Raises `UsageError` if there is none of that name."""
    if name not in list_presets(family):
        known = ", ".join(list_presets(family))
        raise UsageError(f"no template for {family} captions is named {name!r}: use {known}, or ./{name} for a file")
    return load_template((_FOLDER / family / f"{name}.yaml").read_bytes(), name, family)


def get_default(family: str) -> CaptionTemplate:
    """Returns the template of a family that is rendered unless another one is asked for."""
    return load_preset(family, DEFAULT).template
