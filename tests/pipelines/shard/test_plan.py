"""Cutting input shards into outputs: whatever is good and whatever the length, no sample is lost or doubled."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.inputs.shards import InputShard
from pipelines.shard.caption_set import CaptionSet
from pipelines.shard.census import Census
from pipelines.shard.plan import ShardUnit, cut_units, has_changed
from schemas.output_set.manifest import InputFile, Manifest, OutputFile

GOODS = st.lists(st.lists(st.booleans(), max_size=12), max_size=8)


def censuses(goods: list[list[bool]]) -> list[Census]:
    return [
        Census(InputShard(f"{number:08d}", f"{number:08d}.tar"), True, np.array(good, bool), 0, "", [], b"", None)
        for number, good in enumerate(goods)
    ]


@given(GOODS, st.integers(1, 15))
def test_every_sample_is_in_exactly_one_unit(goods: list[list[bool]], samples: int) -> None:
    units = cut_units(censuses(goods), samples)
    places = [
        (stretch.shard.name, position)
        for unit in units
        for stretch in unit.sample_ranges
        for position in range(stretch.start, stretch.stop)
    ]
    assert places == [(f"{number:08d}", at) for number, good in enumerate(goods) for at in range(len(good))]
    held = [
        sum(sum(goods[int(part.shard.name)][part.start : part.stop]) for part in unit.sample_ranges) for unit in units
    ]
    total = sum(map(sum, goods))
    assert held[:-1] == [samples] * (len(units) - 1)
    assert sum(held) == total
    assert len(units) == max(-(-total // samples), min(1, len(goods)))
    assert [unit.name for unit in units] == [f"{number:08d}" for number in range(len(units))]
    assert sum(unit.rows for unit in units) == len(places)


@given(GOODS, st.integers(1, 15))
def test_every_input_is_read_for_its_damage(goods: list[list[bool]], samples: int) -> None:
    units = cut_units(censuses(goods), samples)
    read = {stretch.shard.name for unit in units for stretch in unit.sample_ranges}
    assert read == {f"{number:08d}" for number in range(len(goods))}


def test_an_output_of_other_chosen_rows_has_changed() -> None:
    """Of five samples one is not chosen now; when the output was made, that one was chosen and quarantined."""
    captions = CaptionSet.__new__(CaptionSet)
    captions.revision = InputFile(path="captions", size=1, sha256="")
    shard = InputShard("0", "0.tar", listed_size=7)
    good, left_out = np.array([1, 1, 0, 1, 1], bool), np.array([0, 0, 1, 0, 0], bool)
    unit = cut_units([Census(shard, None, good, 7, "", [], b"", None, left_out=left_out)], 10)[0]
    assert isinstance(unit, ShardUnit)

    def make_manifest(left_out: int) -> Manifest:
        return Manifest.build(
            "00000000",
            "",
            inputs=[captions.revision, InputFile(path="0.tar", size=7, sha256="")],
            rows_in=5,
            data=OutputFile(path="data/00000000.tar", rows=4, size=1, sha256=""),
            others=[],
            reasons=["no_caption"] * (1 - left_out),
            left_out={"sample": left_out},
        )

    assert not has_changed(unit, make_manifest(1), captions)
    assert has_changed(unit, make_manifest(0), captions)
