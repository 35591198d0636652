"""A part of a tar reads as a tar that holds its samples alone."""

import io

import pytest

from schemas.tar.reader import TarReader
from schemas.tar.slice import open_slice
from schemas.tar.writer import TarWriter


def tar_of(count: int) -> tuple[bytes, list[int]]:
    file = io.BytesIO()
    writer, starts = TarWriter(file), [0]
    for number in range(count):
        writer.add(f"{number}.jpg", bytes([number]) * 700)
        writer.add(f"{number}.txt", b"" if number % 2 else b"text")
        starts.append(writer.size)
    writer.close()
    return file.getvalue(), starts


@pytest.mark.parametrize(("first", "last"), [(0, 4), (1, 3), (3, 4), (2, 2)])
def test_a_part_is_a_sound_tar(first: int, last: int) -> None:
    data, starts = tar_of(4)
    reader = TarReader(open_slice(io.BytesIO(data), starts[first], starts[last]), start=starts[first])
    samples = list(reader)
    assert [sample.start for sample in samples] == starts[first:last]
    for member in (member for sample in samples for member in sample.members.values()):
        assert data[member.offset : member.offset + len(member.data)] == member.data
    assert [sample.key for sample in samples] == [str(number) for number in range(first, last)]
    assert [sample.members["jpg"].data for sample in samples] == [bytes([n]) * 700 for n in range(first, last)]
    assert [sample.fault for sample in samples] == [None] * (last - first)
    assert reader.damage == []


def test_the_end_of_the_file_ends_it() -> None:
    data, starts = tar_of(4)
    reader = TarReader(open_slice(io.BytesIO(data[: starts[3]]), starts[2], starts[4]))
    assert [sample.key for sample in reader] == ["2"]
    assert reader.damage == []
    whole = open_slice(io.BytesIO(data), starts[3], starts[4])
    assert whole.read() + whole.read() == data[starts[3] : starts[4]] + bytes(1024)


@pytest.mark.parametrize("size", [1, 511, 700])
def test_it_reads_at_most_as_many_bytes_as_asked_and_no_byte_twice(size: int) -> None:
    data, starts = tar_of(2)
    part = open_slice(io.BytesIO(data), starts[1], starts[2])
    assert part.readable()
    read = list(iter(lambda: part.read(size), b""))
    assert max(map(len, read)) <= size
    assert b"".join(read) == data[starts[1] : starts[2]] + bytes(1024)
    assert part.read() == b""
