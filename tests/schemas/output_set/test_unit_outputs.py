"""Which outputs belong to one unit of work, and which of them are lost."""

from schemas.output_set.manifest import Manifest
from schemas.output_set.unit_outputs import lost_outputs, nth_output, unit_of


def manifest(name: str, unit_outputs: int = 1) -> Manifest:
    made = Manifest.build(name, "r", inputs=[], rows_in=0, data=None, others=[])
    return made.model_copy(update={"unit_outputs": unit_outputs})


def test_units_are_told_by_the_kind_of_the_set() -> None:
    """Elsewhere an output is named after an input, in which `_` and `-` stand for anything."""
    assert unit_of("ingest", "00000007_001") == "00000007"
    assert unit_of("download", "00000007-r1") == "00000007"
    for kind in ("annotate", "render", None, ["ingest"]):
        assert unit_of(kind, "cc3m_001-r1") == "cc3m_001-r1"


def test_lost_outputs_are_named() -> None:
    assert [nth_output("00000007", number) for number in (0, 1, 12, 1000)] == [
        "00000007",
        "00000007_001",
        "00000007_012",
        "00000007_1000",
    ]
    held = {made.name: made for made in (manifest("a", 4), manifest("a_002"), manifest("b"), manifest("c_001"))}
    assert lost_outputs(held) == ["a_001", "a_003"]
