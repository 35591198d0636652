"""A stream hashes what it reads, however it is read, and its thread ends with it."""

import gc
import hashlib
import io
import random
import threading

import pytest

from schemas.tar import stream as tar_stream
from schemas.tar.header import BLOCK, parse_header
from schemas.tar.stream import MAX_UNHASHED, TarStream
from schemas.tar.writer import make_member_header
from tests.schemas.support.tars import with_sum


def hashing_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "tar-hash"}


@pytest.mark.parametrize("size", [1, 100, 4096])
def test_the_hash_is_of_all_that_was_read_from_the_file(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_stream, "READ_BYTES", size)
    data = random.Random(size).randbytes(3000)
    stream = TarStream(io.BytesIO(data), hashing=True)
    assert stream.compute_sha256() == hashlib.sha256().hexdigest()
    assert stream.read(150) == data[:150]
    read = -(-150 // size) * size
    assert stream.compute_sha256() == hashlib.sha256(data[:read]).hexdigest()
    stream.unread(data[140:150])
    assert stream.skip(10)
    assert stream.read(len(data)) == data[150:]
    assert not stream.skip(1)
    assert stream.compute_sha256() == hashlib.sha256(data).hexdigest()
    assert TarStream(io.BytesIO(data), hashing=False).compute_sha256() == ""


def test_few_pieces_wait_for_their_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread is held back: the stream gives out four pieces, and waits with the fifth."""
    monkeypatch.setattr(tar_stream, "READ_BYTES", 1)
    held, seen = threading.Event(), threading.Event()

    class Digest:
        def update(self, piece: bytes) -> None:
            held.wait()

    monkeypatch.setattr(tar_stream.hashlib, "sha256", Digest)
    stream, got = TarStream(io.BytesIO(bytes(9)), hashing=True), list[bytes]()

    def read() -> None:
        for _ in range(6):
            got.append(stream.read(1))
            if len(got) == MAX_UNHASHED:
                seen.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert seen.wait(60)
    assert len(got) == MAX_UNHASHED
    held.set()
    reader.join()
    assert len(got) == 6


def test_an_abandoned_stream_ends_its_thread() -> None:
    before = hashing_threads()
    stream = TarStream(io.BytesIO(bytes(2000)), hashing=True)
    stream.read(1000)
    (thread,) = hashing_threads() - before
    del stream
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()


def test_sums_of_headers_are_exact() -> None:
    """Of the largest bytes too, whose sum does not fit into 16 bits."""
    generator = random.Random(0)
    for number in range(300):
        block = bytearray(make_member_header("a.jpg", 100))
        block[265:BLOCK] = bytes([255] * (BLOCK - 265)) if number == 0 else generator.randbytes(BLOCK - 265)
        sound = with_sum(bytes(block))
        assert parse_header(sound) is not None
        at = generator.randrange(265, BLOCK)
        changed = bytes([*sound[:at], sound[at] ^ 1, *sound[at + 1 :]])
        assert parse_header(changed) is None


@pytest.mark.parametrize(
    "field", [b"0000\00078\0", b"00000000078\0", b"0000000000_1", b"+0000000001\0", b"0o000000001\0"]
)
def test_numbers_are_octal_digits(field: bytes) -> None:
    block = bytearray(make_member_header("a.jpg", 100))
    block[124:136] = field.ljust(12, b"\0")[:12]
    found = parse_header(with_sum(bytes(block)))
    assert (None if found is None else found.size) == (0 if field.startswith(b"0000\0") else None)
