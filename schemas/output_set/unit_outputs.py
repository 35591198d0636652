"""Names the outputs of a unit of work: unit 7 has `00000007`, and more outputs if one is not enough.

An ingest splits a unit into `00000007`, `00000007_001` and so on; a download that retries a unit adds `00000007-r1`.
"""

from collections.abc import Mapping

from schemas.output_set.manifest import Manifest

_SEPARATORS = {"ingest": "_", "download": "-"}
"""The separator between a unit's name and the rest of an output's name, by the kind of the recipe."""


def get_unit_name(kind: object, output: str) -> str:
    """Returns the name of the unit that an output belongs to, in a set made by a recipe of this kind."""
    mark = _SEPARATORS.get(kind) if isinstance(kind, str) else None
    return output.partition(mark)[0] if mark else output


def make_output_name(unit: str, number: int) -> str:
    """Returns the name of a unit's output by its number, from 0."""
    return f"{unit}_{number:03d}" if number else unit


def find_lost_outputs(manifests: Mapping[str, Manifest], kind: object = None) -> list[str]:
    """Names the outputs that must exist by other manifests of their unit, and are not committed.

    `kind` is the kind of the recipe. The first output of a unit stores the number of its outputs; the names of the
    others show that a first output is missing.
    """
    several = [manifest for manifest in manifests.values() if manifest.unit_outputs > 1]
    names = [make_output_name(first.name, number) for first in several for number in range(first.unit_outputs)]
    names += dict.fromkeys(get_unit_name(kind, name) for name in manifests)
    return [name for name in names if name not in manifests]
