"""The tar reader on sound tars, published ones and hostile ones: nothing raises, nothing is lost in silence."""

import hashlib
import io
import tarfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.tar import stream as tar_stream
from schemas.tar.reader import TarReader, split_name
from tests.schemas.support.tars import Contents, contents, files, read, special, tar_of, with_sum
from tests.support.growth import assert_linear

THREE = ("000000000017", "000000000018", "000000000019")
FORMS = {
    "ustar": tar_of(*files(*THREE)),
    "ustar prefix": tar_of(*files(*("d" * 90 + "/" + "e" * 20 + "/" + key for key in THREE))),
    "gnu": tar_of(*files(*THREE), form=tarfile.GNU_FORMAT),
    "gnu long": tar_of(*files(*("n" * 120 + key for key in THREE)), form=tarfile.GNU_FORMAT),
    "pax times": tar_of(*files(*THREE), form=tarfile.PAX_FORMAT, mtime=1.5),
    "pax long": tar_of(*files(*("né" * 60 + key for key in THREE)), form=tarfile.PAX_FORMAT),
    "documents": tar_of(*files("a1", "a2", "a3", endings=("json", "0.jpg", "1.jpg"))),
}


def by_tarfile(data: bytes) -> Contents:
    """The samples as Python's `tarfile` sees them."""
    samples: Contents = defaultdict(dict)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            key, extension = split_name(member.name)
            body = tar.extractfile(member)
            assert body is not None
            samples[key][extension] = body.read()
    return dict(samples)


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS.keys())
def test_every_format_reads_as_tarfile_reads_it(data: bytes) -> None:
    reader, samples = read(data)
    assert contents(samples) == by_tarfile(data)
    assert [sample.key for sample in samples] == list(contents(samples))
    assert reader.damage == []
    assert (reader.size, reader.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    for sample in samples:
        for member in sample.members.values():
            assert data[member.offset : member.offset + len(member.data)] == member.data


@pytest.mark.parametrize("size", [1, 7, 511, 512, 513, 5000])
def test_pieces_of_any_size_give_the_same(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_stream, "READ_BYTES", size)
    for data in FORMS.values():
        broken = data[:2048] + b"?" * 700 + data[2048:]
        for tar in (data, broken):
            reader, samples = read(tar)
            monkeypatch.undo()
            whole, same = read(tar)
            monkeypatch.setattr(tar_stream, "READ_BYTES", size)
            assert samples == same
            assert (reader.damage, reader.size, reader.sha256) == (whole.damage, whole.size, whole.sha256)


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS.keys())
def test_cut_anywhere_keeps_what_is_whole_and_says_so(data: bytes) -> None:
    whole = contents(read(data)[1])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        ends = {split_name(member.name)[0]: member.offset_data + member.size for member in tar}
    marker = -(-max(ends.values()) // 512) * 512 + 1024
    first = next(iter(whole))
    for cut in range(0, len(data), 31):
        reader, samples = read(data[:cut])
        found = contents(samples)
        assert bool(reader.damage) == (cut < marker), cut
        assert {key for key, end in ends.items() if end <= cut} <= found.keys(), cut
        # Of the first sample nobody can know what is missing, if it ends between two members.
        assert all(found[key] == whole[key] for key in found if key != first), cut
        assert reader.size == cut


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS.keys())
def test_any_wrong_byte_of_a_header_costs_its_own_sample_only(data: bytes) -> None:
    whole = contents(read(data)[1])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        headers = {(place, split_name(m.name)[0]) for m in tar for place in (m.offset, m.offset_data - 512)}
    assert len(headers) >= 5
    for number, (start, key) in enumerate(sorted(headers)):
        for place in range(start + number % 5, start + 512, 5):  # any five headers together: every byte of one
            for value in (data[place] ^ 1, ord("/"))[: 1 + (place % 4 == 0)]:
                reader, samples = read(data[:place] + bytes([value]) + data[place + 1 :])
                found = contents(samples)
                assert reader.damage or found == whole, (place, value)
                assert whole.keys() - {key} <= found.keys(), (place, value)
                assert all(found[name] == whole.get(name) for name in found), (place, value)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_nothing_raises_whatever_the_bytes(draw: st.DataObject) -> None:
    data = bytearray(FORMS[draw.draw(st.sampled_from(list(FORMS)))])
    for _ in range(draw.draw(st.integers(1, 4))):
        start = draw.draw(st.integers(0, len(data)))
        stop = draw.draw(st.integers(start, min(start + 1500, len(data))))
        data[start:stop] = draw.draw(st.binary(max_size=600))
        if draw.draw(st.booleans()) and len(data) >= 512:  # a header that is wrong, and whose sum is right
            start = start // 512 * 512
            data[start : start + 512] = with_sum(bytes(data[start : start + 512]).ljust(512, b"\0"))
    reader, samples = read(bytes(data))
    assert reader.size == len(data)
    assert reader.sha256 == hashlib.sha256(data).hexdigest()
    for sample in samples:
        for member in sample.members.values():
            assert data[member.offset : member.offset + len(member.data)] == member.data


def test_bytes_lost_in_the_middle_spoil_the_neighbours_and_no_others() -> None:
    data = tar_of(*files(*(f"{number:06}" for number in range(9))))
    whole = contents(read(data)[1])
    for lost in (100, 512, 1000, 1536):
        start = 6 * 1024 + 700  # in the body of a member of the third sample
        reader, samples = read(data[:start] + data[start + lost :])
        found = contents(samples)
        assert reader.damage
        assert found == {key: whole[key] for key in found}
        assert whole.keys() - found.keys() <= {"000002", "000003"}


def test_zeros_over_a_header_are_no_end() -> None:
    data = tar_of(*files(*(f"{number:06}" for number in range(9))))
    whole = contents(read(data)[1])
    for start, size in ((6 * 1024, 512), (8 * 1024, 1024), (6 * 1024, 3072)):
        reader, samples = read(data[:start] + bytes(size) + data[start + size :])
        found = contents(samples)
        assert reader.damage
        assert found == {key: whole[key] for key in found}
        assert whole.keys() - found.keys() <= {"000001", "000002", "000003"}


def test_two_tars_in_one_file_are_both_read_and_told_of() -> None:
    reader, samples = read(tar_of(*files("a", "b")) + tar_of(*files("c", "d")))
    assert list(contents(samples)) == ["a", "b", "c", "d"]
    assert "two tars" in reader.damage[0].description


def test_rubbish_after_the_end_marker_costs_nothing() -> None:
    reader, samples = read(FORMS["ustar"] + b"rubbish" * 1000)
    assert list(contents(samples)) == list(THREE)
    assert [damage.offset for damage in reader.damage] == [9 * 1024, len(FORMS["ustar"])]


@pytest.mark.parametrize("data", [b"", b"x" * 5000, b"\x1f\x8b" * 900, b"\0" * 512, b"ustar" * 9000])
def test_what_is_no_tar_is_damage(data: bytes) -> None:
    reader, samples = read(data)
    assert (samples, bool(reader.damage)) == ([], True)


def pax_records(records: bytes) -> bytes:
    """A tar that begins with these records of a pax header."""
    header = with_sum(special("x", b"x", len(records)).tobuf(tarfile.USTAR_FORMAT))
    return header + records + bytes(-len(records) % 512) + FORMS["ustar"]


@pytest.mark.parametrize(
    "make",
    [
        lambda size: pax_records(b"11 path=//\n" * (size // 11)),
        lambda size: pax_records(b"%d path=%s\n" % (size + 12, b"/" * size)),
        lambda size: pax_records(b"9" * size + b" "),
        lambda size: pax_records(b"1 " * (size // 2)),
        lambda size: (b"ustar" * 200 + FORMS["ustar"][:600]) * (size // 1600),
    ],
    ids=["many paths", "long path", "long number", "many numbers", "rubbish"],
)
def test_time_is_linear_in_hostile_input(make: Callable[[int], bytes]) -> None:
    assert_linear(read, make, 120_000)


def test_of_much_damage_the_first_is_told() -> None:
    reader, _ = read((b"ustar" * 200 + FORMS["ustar"][:600]) * 1001)
    assert len(reader.damage) == 1000


@pytest.mark.parametrize("shard", range(4))
def test_real_shards_read_as_tarfile_reads_them(data: Path, shard: int) -> None:
    tar = (data / f"datacomp_small/{shard:08}.tar").read_bytes()
    reader, samples = read(tar)
    assert contents(samples) == by_tarfile(tar)
    assert (reader.damage, reader.sha256) == ([], hashlib.sha256(tar).hexdigest())


def test_the_real_shards_hold_223_samples(data: Path) -> None:
    count = 0
    for path in sorted((data / "datacomp_small").glob("*.tar")):
        with path.open("rb") as file:
            count += sum(sample.fault is None for sample in TarReader(file, hashing=False))
    assert count == 223


def test_a_cut_shard_gives_its_whole_samples(data: Path) -> None:
    reader, samples = read((data / "hostile_archives/cut_00000001.tar").read_bytes())
    assert sum(len(members) for members in contents(samples).values()) == 9
    assert "ends inside" in reader.damage[-1].description


def test_samples_behind_a_damaged_header_are_found(data: Path) -> None:
    tar = (data / "hostile_archives/bad_header_00000001.tar").read_bytes()
    reader, samples = read(tar)
    original = by_tarfile((data / "datacomp_small/00000001.tar").read_bytes())
    found = contents(samples)
    assert found == {key: original[key] for key in found}
    assert sum(len(members) for key, members in found.items()) > 9  # where tarfile stops, without an error
    assert reader.damage[0].description.startswith("no sound header")


def test_a_tar_of_compressed_files_is_a_sound_tar(data: Path) -> None:
    reader, samples = read((data / "hostile_archives/compressed.tar").read_bytes())
    assert [list(sample.members) for sample in samples] == [["txt.gz"]] * 3
    assert reader.damage == []
