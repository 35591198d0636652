"""Compressed inputs are refused, and told by what has compressed them."""

import bz2
import gzip
import lzma
import zipfile
from pathlib import Path

import pytest

from curation.engines.tags.vocabulary import read_vocabulary
from schemas.compression import check_uncompressed, detect_compression, detect_compression_by_name
from schemas.errors import UsageError
from schemas.records.ground_truth import read_box_truth, read_text_truth, read_truth_index
from schemas.storage.parquet import UnreadableParquet, open_parquet


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl.gz", "gzip"),
        ("s3://b/a.tar.zst", "zstd"),
        ("a.TGZ", "gzip"),
        ("a.tar.bz2", "bzip2"),
        ("a.tar.xz", "xz"),
        ("a.zip", None),  # an archive, which is told as a file of another kind
        ("a.tar", None),
        ("gz/a.parquet", None),
        ("gz", None),
        (".gz/a", None),
    ],
)
def test_names_tell(name: str, kind: str | None) -> None:
    assert detect_compression_by_name(name) == kind


def test_first_bytes_tell(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a", "a")
    found = [gzip.compress(b"a"), bz2.compress(b"a"), lzma.compress(b"a"), (tmp_path / "a.zip").read_bytes()]
    assert [detect_compression(data) for data in found] == ["gzip", "bzip2", "xz", "zip"]
    assert [detect_compression(data) for data in (b"\x28\xb5\x2f\xfd\x04", b"", b'{"text": "a"}')] == [
        "zstd",
        None,
        None,
    ]


@pytest.mark.parametrize("name", ["a.parquet", "a.parquet.gz"])
def test_a_compressed_parquet_file_is_named_by_whoever_opens_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"PAR1"))
    line = f"^{path} is compressed by gzip, which is not read: decompress it first$"
    with pytest.raises(UnreadableParquet, match=line):
        open_parquet(path, str(path))
    with path.open("rb") as file, pytest.raises(UnreadableParquet, match=line):
        open_parquet(file, str(path))


def test_other_compressed_files_are_named(tmp_path: Path) -> None:
    data = gzip.compress(b"{}\n")
    for path, read in (
        ("truth.jsonl.gz", lambda: read_box_truth(data, "truth.jsonl.gz")),
        ("truth.jsonl", lambda: read_text_truth(data, "truth.jsonl")),
        ("index.jsonl", lambda: read_truth_index(data, "index.jsonl")),
        (f"vocabulary {tmp_path}/tags.txt", lambda: read_vocabulary(tmp_path / "tags.txt")),
    ):
        (tmp_path / "tags.txt").write_bytes(data)
        with pytest.raises(
            UsageError, match=rf"^{path} is compressed by gzip, which is not read: decompress it first$"
        ):
            read()
    (tmp_path / "tags.z").write_text("dog\n")  # a name alone refuses no file that reads well
    assert read_vocabulary(tmp_path / "tags.z").names == ("dog",)


def test_the_message_names_the_file_and_what_to_do() -> None:
    check_uncompressed("a.jsonl", b"{}")
    for path, start in (("a.jsonl.gz", b""), ("a.jsonl", b"\x1f\x8b\x08")):
        with pytest.raises(UsageError) as error:
            check_uncompressed(path, start)
        assert str(error.value) == f"{path} is compressed by gzip, which is not read: decompress it first"
