"""Totals of sets: sums over manifests, with rows that a later attempt has mended counted once."""

from collections import Counter
from pathlib import Path

import pytest

from pipelines.output.totals import (
    DamagedInput,
    EmptyOutputError,
    RunClock,
    RunTimes,
    Totals,
    add_up_manifests,
    check_damage,
    check_not_empty,
    read_times,
)
from schemas.output_set.manifest import Manifest, OutputFile
from schemas.storage.folder import Folder


def manifest(name: str, rows: int, reasons: dict[str, int], retried: dict[str, int], **counts: int) -> Manifest:
    """A manifest of so many rows out."""
    return Manifest.build(
        name,
        "",
        inputs=[],
        rows_in=rows + sum(reasons.values()),
        data=OutputFile(path=f"data/{name}.tar", rows=rows, size=0, sha256=""),
        others=[],
        reasons=reasons,
        retried=retried,
        counts=counts,
        damage=["byte 7: cut"] if name == "b" else [],
    )


def test_rows_that_succeed_later_count_once() -> None:
    """Of ten rows six fail at first, of which four are asked for again, and one fails again, otherwise."""
    first = manifest("a", 4, {"http_503": 4, "http_404": 2}, {}, images=3)
    again = manifest("a-r1", 3, {"http_500": 1}, {"http_503": 4}, images=2)
    totals = add_up_manifests([first, again])
    assert (totals.outputs, totals.rows_in, totals.rows_out, totals.quarantined) == (2, 10, 7, 3)
    assert totals.reasons == {"http_404": 2, "http_500": 1}
    assert totals.counts == {"images": 5}
    assert totals.to_dict() == {
        "outputs": 2,
        "rows_in": 10,
        "rows_out": 7,
        "quarantined": 3,
        "reasons": {"http_404": 2, "http_500": 1},
        "counts": {"images": 5},
        "damaged": {},
    }


@pytest.mark.parametrize(
    ("rows_in", "rows_out", "is_empty"), [(0, 0, False), (1, 0, True), (2, 1, False), (2, 2, False)]
)
def test_a_set_is_empty_if_rows_went_in_and_none_came_out(rows_in: int, rows_out: int, is_empty: bool) -> None:
    totals = Totals(1, rows_in, rows_out, Counter(too_small=rows_in - rows_out))
    if not is_empty:
        check_not_empty(totals, "out")
        return
    with pytest.raises(EmptyOutputError, match=r"^out: none of 1 rows came out \(1 too_small\): see quarantine/ there"):
        check_not_empty(totals, "out")


def test_damage_is_accepted_only_where_that_is_allowed() -> None:
    totals = add_up_manifests([manifest("a", 1, {}, {}), manifest("b", 1, {}, {})])
    assert totals.damaged == {"b": ["byte 7: cut"]}
    check_damage(totals, allow=True)
    check_damage(add_up_manifests([manifest("a", 1, {}, {})]), allow=False)
    with pytest.raises(DamagedInput, match=r"^1 shards are damaged \(b: byte 7: cut\); their readable samples are "):
        check_damage(totals, allow=False)


def test_times_of_runs_add_up(tmp_path: Path) -> None:
    one = RunTimes(1, 2.0, 0.5, {"ocr": {"images": 4}}, {"annotated": 3}, {"ocr": 1}, 10, 1, 2)
    other = RunTimes(
        1, 3.0, 0.25, {"ocr": {"images": 5}, "tags": {"images": 6}}, {"too_small": 1}, {"tags": 2}, 20, 2, 3
    )
    assert one + other == RunTimes(
        2,
        5.0,
        0.75,
        {"ocr": {"images": 9}, "tags": {"images": 6}},
        {"annotated": 3, "too_small": 1},
        {"ocr": 1, "tags": 2},
        30,
        3,
        5,
    )
    output = Folder(str(tmp_path))
    for runs in (1, 2):
        clock = RunClock()
        clock.times.add_chunk(5, {"too_small": 2}, {"ocr": 1}, 100)
        clock.stop(output)
        stored = read_times(output)
        assert (stored.runs, stored.rows, stored.bytes) == (
            runs,
            {"annotated": 3 * runs, "too_small": 2 * runs},
            100 * runs,
        )
    (tmp_path / "stats.json").write_text("{}")
    assert read_times(output) == RunTimes()
