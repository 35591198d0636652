"""Which outputs belong to one unit of work, and which of them are lost."""

import pytest

from schemas.output_set.manifest import Manifest, seal, unseal
from schemas.output_set.unit_outputs import find_lost_outputs, get_unit_name, make_output_name


def manifest(name: str, unit_outputs: int = 1) -> Manifest:
    made = Manifest.build(name, "r", inputs=[], rows_in=0, data=None, others=[])
    return made.model_copy(update={"unit_outputs": unit_outputs})


def test_units_are_told_by_the_kind_of_the_set() -> None:
    """Elsewhere an output is named after an input, in which `_` and `-` stand for anything."""
    assert get_unit_name("ingest", "00000007_001") == "00000007"
    assert get_unit_name("download", "00000007-r1") == "00000007"
    for kind in ("annotate", "render", None, ["ingest"]):
        assert get_unit_name(kind, "cc3m_001-r1") == "cc3m_001-r1"


def test_lost_outputs_are_named() -> None:
    assert [make_output_name("00000007", number) for number in (0, 1, 12, 1000)] == [
        "00000007",
        "00000007_001",
        "00000007_012",
        "00000007_1000",
    ]
    held = {made.name: made for made in (manifest("a", 4), manifest("a_002"), manifest("b"), manifest("c_001"))}
    assert find_lost_outputs(held) == ["a_001", "a_003"]


def test_that_the_first_output_is_lost_the_others_say() -> None:
    """Where the kind of the set is that of names which say it."""
    held = {made.name: made for made in (manifest("00000000_001"), manifest("00000000_002"), manifest("00000001"))}
    assert find_lost_outputs(held, "ingest") == ["00000000"]
    assert find_lost_outputs(held, "annotate") == []


def test_a_unit_has_so_many_outputs_at_most() -> None:
    """All of them are looked for."""
    values = unseal(manifest("a", 2).to_json())
    assert Manifest.from_json(seal(values | {"unit_outputs": 1_000_000})).unit_outputs == 1_000_000
    with pytest.raises(ValueError, match="unit_outputs: Input should be less than or equal to 1000000"):
        Manifest.from_json(seal(values | {"unit_outputs": 10**12}))
