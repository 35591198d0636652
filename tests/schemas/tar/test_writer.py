"""The tar writer: what others read, the same bytes each time, and the truth about them."""

import gc
import hashlib
import io
import tarfile
import threading
from pathlib import Path

import webdataset
from hypothesis import given
from hypothesis import strategies as st

from schemas.tar.writer import PIECE_BYTES, TarWriter, make_member_header
from tests.schemas.support.tars import contents, files, read

ODD = [("n" * 140 + ".jpg", b"long"), ("näme-東京.jpg", b"other script"), ("e.jpg", b""), ("d/e/f.0.jpg", b"x" * 513)]
MEMBERS = [*files("000000000017", "000000000018"), *ODD, ("large.bin", bytes(range(256)) * (PIECE_BYTES // 128))]


def tar_and_offsets(members: list[tuple[str, bytes]]) -> tuple[bytes, list[int], str, int]:
    """The tar, the offsets that `add` gave, the hash and the size that the writer tells."""
    file = io.BytesIO()
    writer = TarWriter(file)
    offsets = [writer.add(name, data) for name, data in members]
    sha256 = writer.close()
    return file.getvalue(), offsets, sha256, writer.size


def test_the_bytes_are_those_of_tarfile() -> None:
    data, offsets, sha256, size = tar_and_offsets(MEMBERS)
    expected = io.BytesIO()
    with tarfile.open(fileobj=expected, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, body in MEMBERS:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    assert data == expected.getvalue()
    assert (size, sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert [data[at : at + len(body)] for at, (_, body) in zip(offsets, MEMBERS, strict=True)] == [
        b for _, b in MEMBERS
    ]
    assert tar_and_offsets(MEMBERS)[0] == data


def test_tarfile_and_our_reader_read_it_and_find_no_owner_and_no_time() -> None:
    data = tar_and_offsets(MEMBERS)[0]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == [name for name, _ in MEMBERS]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
    reader, samples = read(data)
    assert reader.damage == []
    assert sum(len(sample) for sample in contents(samples).values()) == len(MEMBERS)


def test_webdataset_reads_it(tmp_path: Path) -> None:
    data = tar_and_offsets(MEMBERS)[0]
    (tmp_path / "a.tar").write_bytes(data)
    found = {
        sample["__key__"]: {ending: body for ending, body in sample.items() if not ending.startswith("__")}
        for sample in webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False)
    }
    assert found == contents(read(data)[1])


def test_an_empty_tar_is_a_tar() -> None:
    data, _, sha256, _ = tar_and_offsets([])
    assert (data, sha256) == (bytes(10240), hashlib.sha256(bytes(10240)).hexdigest())
    assert (read(data)[1], read(data)[0].damage) == ([], [])


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), st.integers(0, 8**12))
def test_every_header_is_as_tarfile_has_it(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    assert make_member_header(name, size) == info.tobuf(tarfile.PAX_FORMAT)


def test_a_writer_that_is_given_up_leaves_no_thread() -> None:
    before = threading.active_count()
    writer = TarWriter(io.BytesIO())
    writer.add("a.bin", bytes(3 * PIECE_BYTES))
    hashing = [thread for thread in threading.enumerate() if thread.name.startswith("tar-hash")]
    assert hashing
    del writer
    gc.collect()
    for thread in hashing:
        thread.join(10)
    assert threading.active_count() <= before
