"""Names at the edges of a header's fields (100 bytes, and 155 for the prefix) are written and read whole."""

import io
import tarfile

import pytest

from schemas.tar.header import BLOCK, NAME_LENGTH, USTAR, parse_header, read_raw_name
from schemas.tar.reader import TarReader
from schemas.tar.writer import TarWriter, make_member_header
from tests.schemas.support.tars import contents, files, read, tar_of, with_sum

PREFIX_LENGTH = 155


def name_of(length: int, folder: int = 0) -> str:
    """A name of so many bytes, the first `folder` of which are a folder's; different lengths end differently."""
    start = "f" * folder + "/" if folder else ""
    return start + f"{length}".rjust(length - len(start) - 4, "n") + ".jpg"


@pytest.mark.parametrize("length", [5, 99, 100, 101, 155, 156, 255, 256, 257, 511, 512, 513])
@pytest.mark.parametrize("folder", [0, 3])
def test_a_written_name_reads_back(length: int, folder: int) -> None:
    name = name_of(max(length, folder + 9), folder)
    file = io.BytesIO()
    writer = TarWriter(file)
    offset = writer.add(name, b"body")
    writer.close()
    info = tarfile.TarInfo(name)
    info.size = 4
    head = info.tobuf(tarfile.PAX_FORMAT)
    assert make_member_header(name, 4) == head
    assert offset == len(head) == (BLOCK if len(name) <= NAME_LENGTH else offset)
    assert len(head) > BLOCK or len(name) <= NAME_LENGTH
    reader, samples = read(file.getvalue())
    assert contents(samples) == {name[:-4]: {"jpg": b"body"}}
    assert reader.damage == []
    with tarfile.open(fileobj=io.BytesIO(file.getvalue())) as tar:
        assert tar.getnames() == [name]


@pytest.mark.parametrize("name", ["é" * 48 + ".jpg", "é" * 49 + ".jp", "é" * 98 + ".j", "n" * 95 + "é.jpg", "é" * 128])
def test_a_name_of_other_letters_is_as_tarfile_has_it(name: str) -> None:
    """100 bytes and 100 letters are not the same."""
    assert make_member_header(name, 4) == _pax_header(name, 4)


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 8**11 + 1])
@pytest.mark.parametrize("length", [99, 100, 101])
def test_a_size_of_eleven_digits_is_the_largest_plain_one(length: int, size: int) -> None:
    made = make_member_header(name_of(length), size)
    assert made == _pax_header(name_of(length), size)
    assert (len(made) == BLOCK) == (length <= NAME_LENGTH and size < 8**11)


def _pax_header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize(
    ("length", "folder"), [(99, 0), (100, 0), (101, 1), (101, 100), (155, 60), (156, 155), (255, 154), (256, 155)]
)
def test_names_of_every_format_read_whole(form: int, length: int, folder: int) -> None:
    """In ustar a name of over 100 bytes is split at a slash into prefix and name; the others have a header for it."""
    name = name_of(length, folder)
    neighbours = files("a"), files("z")
    reader, samples = read(tar_of(*neighbours[0], (name, b"x"), *neighbours[1], form=form))
    assert [sample.key for sample in samples] == ["a", name[:-4], "z"]
    assert contents(samples)[name[:-4]] == {"jpg": b"x"}
    assert reader.damage == []


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("length", [100, 101, 256, 257, 511, 512, 513, 1024])
def test_a_name_without_a_slash_has_a_header_of_its_own(form: int, length: int) -> None:
    reader, samples = read(tar_of((name_of(length), b"x"), ("z.jpg", b"z"), form=form))
    assert [sample.key for sample in samples] == [name_of(length)[:-4], "z"]
    assert reader.damage == []


@pytest.mark.parametrize(("length", "folder"), [(99, 0), (100, 0), (101, 1), (255, 154), (256, 155)])
def test_the_name_in_a_damaged_header_is_read_whole(length: int, folder: int) -> None:
    """It decides which sample has lost a member."""
    name = name_of(length, folder)
    head = tar_of((name, b"x"))[:BLOCK]
    info = parse_header(head)
    assert info is not None
    assert info.name == name
    damaged = bytes([*head[:148], *b"9999999\0", *head[156:]])
    assert parse_header(damaged) is None
    assert read_raw_name(damaged) == name.encode()
    data = tar_of(*files("a"), (name, b"x"), (f"{name[:-4]}.txt", b"y"), *files("z"))
    start = data.index(head)
    reader = TarReader(io.BytesIO(data[:start] + damaged + data[start + BLOCK :]))
    assert {sample.key: sample.fault is None for sample in reader} == {"a": True, name[:-4]: False, "z": True}


def test_a_prefix_is_one_of_ustar_alone() -> None:
    """GNU tar has times in its place, and older tars anything."""
    head = bytearray(tar_of(("b.jpg", b"12345"))[:BLOCK])
    head[345 : 345 + PREFIX_LENGTH + 1] = b"p" * PREFIX_LENGTH + b"?"  # a prefix ends where its field ends
    for magic, name in ((USTAR, "p" * PREFIX_LENGTH + "/b.jpg"), (b"ustar ", "b.jpg"), (b"\0" * 6, "b.jpg")):
        head[257:263] = magic
        info = parse_header(with_sum(bytes(head)))
        assert info is not None
        assert info.name == name
        assert read_raw_name(bytes(head)) == name.encode()
    head[257:263], head[345] = USTAR, 0
    info = parse_header(with_sum(bytes(head)))
    assert info is not None
    assert info.name == "b.jpg"
