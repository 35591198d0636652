"""The outputs of one unit of work: of unit 7 `00000007`, and more of them where one is not enough.

An ingest cuts a unit into `00000007`, `00000007_001` and so on; a download that asks again adds `00000007-r1`.
"""

from collections.abc import Mapping

from schemas.output_set.manifest import Manifest

_MARKS = {"ingest": "_", "download": "-"}
"""What stands between the name of a unit and the rest of an output's name, by the kind of the recipe."""


def unit_of(kind: object, output: str) -> str:
    """Returns the name of the unit that an output of a set of this kind belongs to."""
    mark = _MARKS.get(kind) if isinstance(kind, str) else None
    return output.partition(mark)[0] if mark else output


def nth_output(unit: str, number: int) -> str:
    """Returns the name of a unit's output by its number, from 0."""
    return f"{unit}_{number:03d}" if number else unit


def lost_outputs(manifests: Mapping[str, Manifest], kind: object = None) -> list[str]:
    """Names the outputs that others of their unit tell of, and that are not committed; `kind` is that of the recipe.

    The first output of a unit says of how many it is one. That the first is lost, the names of the others say.
    """
    several = [manifest for manifest in manifests.values() if manifest.unit_outputs > 1]
    names = [nth_output(first.name, number) for first in several for number in range(first.unit_outputs)]
    names += dict.fromkeys(unit_of(kind, name) for name in manifests)
    return [name for name in names if name not in manifests]
