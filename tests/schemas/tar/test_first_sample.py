"""Damage before a tar's first sample marks the tar, and of the samples only the first, if that may lack a member."""

import tarfile

import pytest

from schemas.records.quarantine import Reason
from schemas.tar.header import BLOCK, RECORD
from tests.schemas.support.tars import contents, files, read, special, tar_of

WHOLE = tar_of(*files("a", "b", "c"))
MEMBER = 2 * BLOCK  # a header and less than a block of data
FOLDER = special("d", tarfile.DIRTYPE).tobuf(tarfile.USTAR_FORMAT)
GLOBAL = tarfile.TarInfo.create_pax_global_header({"comment": "packed by hand"})
TWO_TARS = "data after the end marker (two tars in one file?)"


ENDING, SUM = 4, 148  # bytes of a header: the last of the name "a.jpg", and the first of the checksum


def break_headers(data: bytes, place: int, *members: int) -> bytes:
    """Changes this byte of the headers of these members."""
    broken = bytearray(data)
    for member in members:
        broken[member * MEMBER + place] ^= 1
    return bytes(broken)


@pytest.mark.parametrize(
    ("data", "description", "is_marked"),
    [
        (b"?" * 700 + WHOLE, "no sound header in 700 bytes", True),
        (b"?" * MEMBER + WHOLE[MEMBER:], "no sound header in 1024 bytes", True),
        (b"z.jpg".ljust(BLOCK, b"\0") + WHOLE, "no sound header in 512 bytes", True),  # no header, so no name either
        (WHOLE[700:], "no sound header in 324 bytes", True),  # a download that was continued too late
        (break_headers(WHOLE, SUM, 0), "no sound header in 1024 bytes", True),
        (break_headers(WHOLE, ENDING, 0), "no sound header in 1024 bytes", True),
        (break_headers(WHOLE, SUM, 0, 1), "no sound header in 2048 bytes", True),
        (bytes(BLOCK) + WHOLE, TWO_TARS, True),
        (bytes(2 * BLOCK) + WHOLE, TWO_TARS, True),
        (bytes(RECORD - BLOCK) + WHOLE, TWO_TARS, True),
        (bytes(RECORD) + WHOLE, TWO_TARS, False),  # an empty tar, and another one behind it
        (bytes(RECORD + BLOCK) + WHOLE, TWO_TARS, True),
        (b"?" + FOLDER[1:] + WHOLE, "no sound header in 512 bytes", False),
        (b"?" + GLOBAL[1:] + WHOLE, "no sound header in 1024 bytes", False),
    ],
)
def test_the_first_sample_is_marked_if_it_may_lack_a_member(data: bytes, description: str, is_marked: bool) -> None:
    reader, samples = read(data)
    assert [(found.offset, found.description) for found in reader.damage] == [(0, description)]
    assert [sample.key for sample in samples] == ["a", "b", "c"]
    fault = "incomplete: the tar is damaged beside it, at byte 0" if is_marked else None
    assert [sample.fault and str(sample.fault) for sample in samples] == [fault, None, None]
    expected = contents(read(WHOLE)[1])
    assert contents(samples) == {key: expected[key] for key in "abc"[is_marked:]}


@pytest.mark.parametrize(
    ("lost", "is_marked"),
    [
        (break_headers(WHOLE, SUM, 0, 1, 2), False),  # legible names tell that no other sample has lost a member
        (break_headers(WHOLE, ENDING, 0, 1, 2), True),  # with a wrong letter, these may be endings that `b` lacks
        (b"?" * 3 * MEMBER, True),
    ],
)
def test_a_first_sample_that_is_lost_as_a_whole(lost: bytes, is_marked: bool) -> None:
    reader, samples = read(lost[: 3 * MEMBER] + WHOLE[3 * MEMBER :])
    assert [(found.offset, found.description) for found in reader.damage] == [(0, "no sound header in 3072 bytes")]
    assert [(sample.key, sample.fault and sample.fault.reason) for sample in samples] == [
        ("b", Reason.INCOMPLETE if is_marked else None),
        ("c", None),
    ]


@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2000])
def test_damage_without_a_sample(size: int) -> None:
    reader, samples = read(b"?" * size)
    assert samples == []
    (damage,) = reader.damage
    is_short = size < BLOCK
    what = "the tar ends without an end marker" if is_short else f"no sound header in {size} bytes: not a tar"
    assert (damage.offset, damage.description) == (0, what)


def test_a_header_that_is_cut_off_behind_other_bytes() -> None:
    """Its magic is found, and then no whole header."""
    reader, samples = read(b"?" * 600 + WHOLE[:300])
    assert samples == []
    assert [(found.offset, found.description) for found in reader.damage] == [
        (0, "no sound header in 900 bytes: not a tar")
    ]
    assert reader.size == 900


def test_a_single_member_with_a_damaged_header() -> None:
    reader, samples = read(break_headers(tar_of(("a.jpg", b"x")), SUM, 0))
    assert samples == []
    assert [found.offset for found in reader.damage] == [0]
