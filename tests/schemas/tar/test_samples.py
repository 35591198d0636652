"""How the tar reader groups members into samples, and which faults it gives them."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from schemas.records.quarantine import Reason
from schemas.tar.header import parse_extended_header, parse_header
from schemas.tar.reader import TarSample, split_name
from tests.schemas.support.tars import contents, files, read, special, tar_of, with_sum


def faults(samples: list[TarSample]) -> dict[str, Reason]:
    return {sample.key: sample.fault.reason for sample in samples if sample.fault is not None}


@pytest.mark.parametrize(
    ("name", "key", "extension"),
    [
        ("a.jpg", "a", "jpg"),
        ("a.0.JPG", "a", "0.jpg"),
        ("d.1/e/a.jpg", "d.1/e/a", "jpg"),
        ("./a.jpg", "./a", "jpg"),
        ("a.", "a", ""),
        ("README", "README", ""),
        ("d.1/README", "d.1/README", ""),
        ("d/.hidden", "d/.hidden", ""),
    ],
)
def test_a_key_ends_at_the_first_dot_of_the_basename(name: str, key: str, extension: str) -> None:
    assert split_name(name) == (key, extension)


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"6", b"S", b"V"])
@pytest.mark.parametrize("size", [0, 5000])
def test_what_is_no_file_spoils_its_sample_and_nothing_else(kind: bytes, size: int) -> None:
    member = special("b.jpg", kind, size)
    body = bytes(-(-size // 512) * 512) if kind in b"SV" else b""
    head = member.tobuf(tarfile.USTAR_FORMAT)
    reader, samples = read(tar_of(*files("a"))[: 3 * 1024] + head + body + tar_of(*files("c")))
    assert list(contents(samples)) == ["a", "c"]
    assert faults(samples) == {"b": Reason.UNSAFE_MEMBER}
    assert reader.damage == []


@pytest.mark.parametrize("name", ["../b.jpg", "/b.jpg", "d/../../b.jpg"])
def test_a_name_that_leaves_its_folder_is_not_used(name: str) -> None:
    _, samples = read(tar_of(*files("a"), (name, b"x"), *files("c")))
    assert list(contents(samples)) == ["a", "c"]
    assert list(faults(samples).values()) == [Reason.UNSAFE_MEMBER]


def test_directories_are_passed_over_and_empty_files_are_files() -> None:
    reader, samples = read(tar_of(special("d", b"5"), ("d/a.jpg", b""), ("d/a.txt", b"x")))
    assert contents(samples) == {"d/a": {"jpg": b"", "txt": b"x"}}
    assert reader.damage == []


def test_the_first_run_of_a_key_stands() -> None:
    again = [("a.jpg", b"other"), ("a.json", b"{}")]
    for members in ([*files("a", "b"), *again], [*files("a"), *again, *files("b")]):
        _, samples = read(tar_of(*members))
        assert contents(samples) == contents(read(tar_of(*files("a", "b")))[1])
        assert [sample.fault.reason for sample in samples if sample.fault] == [Reason.DUPLICATE_KEY]


def test_names_that_are_not_utf8_stay_apart() -> None:
    tar = tar_of(("x\udcff.jpg", b"1"), ("x\udcfe.json", b"2"))
    _, samples = read(tar)
    assert len(contents(samples)) == 2
    assert all(sample.key.encode() for sample in samples)


@pytest.mark.parametrize(
    "size", [b"-0000000005\0", b"1_0", b"0o7", b"9" * 11 + b"\0", b"\xff" * 12, b"\x80" + b"\x7f" * 11]
)
def test_a_size_that_makes_no_sense_is_damage(size: bytes) -> None:
    data = tar_of(*files("a", "b", "c"))
    start = 4 * 1024  # b.json
    head = data[start : start + 512]
    head = with_sum(head[:124] + size.ljust(12, b"\0") + head[136:])
    reader, samples = read(data[:start] + head + data[start + 512 :])
    assert list(contents(samples)) == ["a", "c"]
    assert faults(samples) == {"b": Reason.INCOMPLETE}
    assert reader.damage


def test_a_size_in_base_256_counts() -> None:
    head = tar_of(("a.jpg", b"12345"))[:512]
    info = parse_header(with_sum(head[:124] + b"\x80" + bytes(10) + b"\x05" + head[136:]))
    assert info is not None
    assert info.size == 5


@pytest.mark.parametrize("size", [b"5", b"000000000000000000000005", b"0" * 5000 + b"5", b"9" * 9000, b"-5", b"5x"])
def test_the_size_of_a_pax_header_counts_if_it_makes_sense(size: bytes) -> None:
    for length in range(len(size) + 7, len(size) + 14):
        record = b"%d size=%s\n" % (length, size)
        if len(record) == length:
            break
    head = with_sum(special("pax", b"x", len(record)).tobuf(tarfile.USTAR_FORMAT))
    body = tar_of(("b.jpg", b"12345"))[:1024]
    start = tar_of(*files("a"))[: 3 * 1024]
    reader, samples = read(start + head + record + bytes(-len(record) % 512) + body + tar_of(*files("c")))
    assert {"a", "c"} - contents(samples).keys() <= ({"a", "c"} if reader.damage else set())
    assert ("b" in contents(samples)) == (size.lstrip(b"0") == b"5") == (not reader.damage)


def test_the_length_of_a_pax_record_may_have_leading_zeros() -> None:
    record = b"000000000000000030 path=d.jpg\n"
    head = with_sum(special("pax", b"x", len(record)).tobuf(tarfile.USTAR_FORMAT))
    reader, samples = read(head + record + bytes(-len(record) % 512) + tar_of(("b.jpg", b"12345")))
    assert (contents(samples), reader.damage) == ({"d": {"jpg": b"12345"}}, [])


@pytest.mark.parametrize(
    "data", [b"1" * 30 + b" path=d.jpg\n", b"13 path=a.b\n" + b"0" * 40 + b"\n", b"x\n", b" \n", b"0 a\n", b"00 "]
)
def test_a_pax_record_without_a_length_ends(data: bytes) -> None:
    """The reader once went round and round on it."""
    assert parse_extended_header(b"x", data) is None


@pytest.mark.parametrize(
    ("member", "spoilt"), [(0, "a"), (1, "a"), (2, "ab"), (3, "ab"), (4, "b"), (5, "bc"), (6, "bc"), (7, "c"), (8, "c")]
)
def test_a_member_whose_pax_header_makes_no_sense_has_no_name(member: int, spoilt: str) -> None:
    """The name in its own header is cut off: taken for another sample's, it would leave its own without a fault."""
    keys = {letter: "né" * 60 + letter for letter in "abc"}
    data = bytearray(tar_of(*files(*keys.values()), form=tarfile.PAX_FORMAT))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        start = tar.getmembers()[member].offset
    data[start + 512] = ord("x")  # the length of the record that holds the name
    reader, samples = read(bytes(data))
    assert [(found.offset, found.description) for found in reader.damage] == [
        (start, "an extended header that makes no sense")
    ]
    assert [sample.key for sample in samples] == list(keys.values())
    assert faults(samples) == dict.fromkeys([keys[letter] for letter in spoilt], Reason.INCOMPLETE)


MALFORMED = with_sum(special("pax", b"x", 512).tobuf(tarfile.USTAR_FORMAT)) + b"x" * 512
GLOBAL = tarfile.TarInfo.create_pax_global_header({"comment": "packed by hand"})


@pytest.mark.parametrize(
    ("start", "first"),
    [
        (MALFORMED, ["json", "txt"]),
        (MALFORMED + GLOBAL, ["json", "txt"]),  # another extended header gives the member no name either
        (MALFORMED + b"?" * 700, ["jpg", "json", "txt"]),  # the member is among the bytes that are lost
        (MALFORMED + special("d", b"5").tobuf(), ["jpg", "json", "txt"]),  # it was a folder's
    ],
)
def test_one_member_behind_a_malformed_header_has_no_name(start: bytes, first: list[str]) -> None:
    reader, samples = read(start + tar_of(*files("a", "b")))
    assert [(sample.key, list(sample.members)) for sample in samples] == [("a", first), ("b", ["jpg", "json", "txt"])]
    assert faults(samples) == {"a": Reason.INCOMPLETE}
    assert reader.damage[0].description == "an extended header that makes no sense"


def test_a_real_pax_size_with_leading_zeros(data: Path) -> None:
    reader, (sample,) = read((data / "corpora/pax-pos-size-file.tar").read_bytes())
    assert (sample.key, sample.fault, len(sample.members[""].data)) == ("foo", None, 999)
    assert [found.description for found in reader.damage] == ["the tar ends without an end marker"]  # it has none


HIDDEN = (
    *("._b.jpg", "d/._b.jpg", ".DS_Store", "d/.DS_Store", ".nfs0000000000c0ffee"),
    *("__MACOSX/._b.jpg", "__MACOSX/b.jpg", "d/__MACOSX/e/b.json", "./.AppleDouble/b.jpg"),
    *("Thumbs.db", "d/desktop.ini", "@eaDir/b.jpg@SynoResource"),
    *(".ipynb_checkpoints/b-checkpoint.jpg", "./d/.git/HEAD", ".Trashes/501/b.jpg", ".b/c.jpg", ".../b.jpg"),
)


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_files_split_no_sample_and_are_counted(name: str) -> None:
    plain = files("b", "c")
    whole = contents(read(tar_of(*plain))[1])
    for step in (1, 2, 3):
        members = [each for at, member in enumerate(plain) for each in ([(name, b"Mac")] * (at % step == 0) + [member])]
        reader, samples = read(tar_of(*members, (name, b"")))
        assert contents(samples) == whole
        assert [sample.fault for sample in samples] == [None, None]
        assert (reader.hidden_files, reader.damage) == (len(members) - len(plain) + 1, [])


@pytest.mark.parametrize(
    "name", ["../._b.jpg", "/.b.jpg", "__MACOSX/../b.jpg", ".b/../c.jpg", "../.b/c.jpg", "./b.jpg", "__MACOSX", "a_.b"]
)
def test_what_is_not_hidden_is_told(name: str) -> None:
    reader, samples = read(tar_of((name, b"x")))
    assert (len(samples), reader.hidden_files) == (1, 0)


def test_a_loss_beside_a_hidden_file_is_still_a_loss() -> None:
    tar = bytearray(tar_of(*files("a"), ("._b.jpg", b"Mac"), *files("b")))
    at = tar.index(b"a.txt")
    tar[at : at + 512] = bytes(range(256)) * 2
    reader, samples = read(bytes(tar))
    assert [sample.fault and sample.fault.reason for sample in samples] == [Reason.INCOMPLETE, Reason.INCOMPLETE]
    assert (reader.hidden_files, len(reader.damage)) == (1, 1)


def test_a_compressed_tar_is_named() -> None:
    for packed in (gzip.compress(tar_of(*files(*map(str, range(99))))), gzip.compress(b"")):
        reader, samples = read(packed)
        assert samples == []
        assert "compressed by gzip (decompress it first)" in reader.damage[0].description


ADVICE = "not adjacent: sort it by name, as `tar --sort=name` packs it"


def test_members_that_are_not_adjacent_are_damage_with_advice() -> None:
    members = files("a", "b")
    by_kind = [*(one for one in members if one[0].endswith("jpg")), *(one for one in members if "jpg" not in one[0])]
    reader, samples = read(tar_of(*by_kind))
    assert [sample.key for sample in samples] == ["a", "b", "a", "b"]
    assert [str(sample.fault) for sample in samples[2:]] == [
        f"{Reason.DUPLICATE_KEY}: key {key!r} came before in this shard, and its members are {ADVICE}" for key in "ab"
    ]
    (damage,) = reader.damage
    assert damage.description == f"the members of 2 samples, such as 'a', are {ADVICE}"
    assert damage.offset == samples[2].start


def test_a_key_that_is_repeated_with_the_same_members_is_no_damage() -> None:
    reader, samples = read(tar_of(*files("a", "b"), *files("a")))
    assert str(samples[2].fault) == f"{Reason.DUPLICATE_KEY}: key 'a' came before in this shard"
    assert reader.damage == []
    reader, samples = read(tar_of(*files("a", "b"), *files("a"), ("b.webp", b"more")))
    assert [damage.description for damage in reader.damage] == [f"the members of 1 samples, such as 'b', are {ADVICE}"]
