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


def lost_outputs(manifests: Mapping[str, Manifest]) -> list[str]:
    """Names the outputs that the first output of their unit tells of, and that are not committed."""
    several = [manifest for manifest in manifests.values() if manifest.unit_outputs > 1]
    names = [nth_output(first.name, number) for first in several for number in range(first.unit_outputs)]
    return [name for name in names if name not in manifests]
