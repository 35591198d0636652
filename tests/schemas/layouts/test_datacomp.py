"""The img2dataset layout: what a sample says, and why one can't be used."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.layouts.datacomp import IMAGE_EXTENSIONS, MAX_JSON, downloaded_keys, read_metadata, read_sample, uid_of
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.parquet import UnreadableParquet
from schemas.tar.reader import Member, TarSample

METADATA = {"uid": "335db346a49045476677662a0067ce68", "url": "https://example.com/a.jpg", "caption": "a cat"}


def sample_of(**members: bytes) -> TarSample:
    """A sample with these members by extension."""
    return TarSample("7", 0, {ending: Member(f"7.{ending}", 512, data) for ending, data in members.items()})


def reason_of(sample: TarSample) -> Reason:
    with pytest.raises(Rejected) as caught:
        read_sample(sample)
    return caught.value.reason


def test_a_sample_says_what_it_holds() -> None:
    image = read_sample(sample_of(jpg=b"\xff\xd8", json=json.dumps(METADATA).encode(), txt="a kätzchen".encode()))
    assert (image.key, image.uid, image.url) == ("7", METADATA["uid"], METADATA["url"])
    assert (image.extension, image.image.data, image.caption) == ("jpg", b"\xff\xd8", "a kätzchen")
    assert image.metadata == METADATA


@pytest.mark.parametrize("extension", IMAGE_EXTENSIONS)
def test_every_kind_of_image_is_found(extension: str) -> None:
    assert read_sample(sample_of(json=b"{}", **{extension: b"x"})).extension == extension


def test_the_caption_is_that_of_the_text_member_else_of_the_metadata_else_empty() -> None:
    said = json.dumps(METADATA).encode()
    assert read_sample(sample_of(jpg=b"", json=said)).caption == "a cat"
    assert read_sample(sample_of(jpg=b"", json=said, txt=b"")).caption == ""
    assert read_sample(sample_of(jpg=b"", json=b"{}")).caption == ""
    for odd in (b'{"caption": null}', b'{"caption": 5}', b'{"caption": ["a"]}'):
        assert read_sample(sample_of(jpg=b"", json=odd)).caption == ""
    assert read_sample(sample_of(jpg=b"", json=b"{}", txt=b"caf\xe9")).caption == "caf\ufffd"


def test_ids_that_are_no_strings_are_none() -> None:
    image = read_sample(sample_of(jpg=b"", json=b'{"uid": 5, "url": {"a": 1}}'))
    assert (image.uid, image.url) == (None, None)


def test_lone_surrogates_become_what_arrow_can_hold() -> None:
    said = rb'{"uid": "\ud800a", "url": "\udfff", "caption": "x\ud83d"}'
    image = read_sample(sample_of(jpg=b"", json=said))
    assert (image.uid, image.url, image.caption) == ("?a", "?", "x?")
    assert uid_of(sample_of(json=said)) == "?a"
    pa.array([image.uid, image.url, image.caption], pa.string()).validate(full=True)


def test_a_sample_without_an_image_is_missing_it() -> None:
    assert reason_of(sample_of(json=b"{}", txt=b"")) is Reason.MISSING_IMAGE
    assert reason_of(sample_of()) is Reason.MISSING_IMAGE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"5",
        b'"text"',
        b"[{}]",
        b"\xff\xfe{",
        b'{"uid": "\xff"}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b" " * (MAX_JSON + 1) + b"{}",
    ],
    ids=lambda data: repr(data[:12]),
)
def test_metadata_that_is_no_object_is_missing(data: bytes) -> None:
    assert reason_of(sample_of(jpg=b"x", json=data)) is Reason.MISSING_METADATA
    assert uid_of(sample_of(jpg=b"x", json=data)) is None


def test_a_sample_without_metadata_is_missing_it() -> None:
    assert reason_of(sample_of(jpg=b"x")) is Reason.MISSING_METADATA
    assert uid_of(sample_of(jpg=b"x")) is None
    with pytest.raises(Rejected, match=r"no \.json member"):
        read_metadata(sample_of(jpg=b"x"))


def test_the_fault_of_the_shard_comes_first_and_the_uid_is_still_found() -> None:
    sample = sample_of(json=json.dumps(METADATA).encode())
    sample.spoil(Reason.INCOMPLETE, "cut")
    sample.spoil(Reason.DUPLICATE_KEY, "told second")
    assert reason_of(sample) is Reason.INCOMPLETE
    assert uid_of(sample) == METADATA["uid"]


def side_parquet(**columns: list[str | int | None]) -> io.BytesIO:
    """A side Parquet as it lies beside a shard."""
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    file.seek(0)
    return file


def test_the_side_parquet_lists_what_was_downloaded() -> None:
    status: list[str | int | None] = ["success", "failed_to_download", "failed_to_resize", "success", None]
    assert downloaded_keys(side_parquet(key=["0", "1", "2", "3", "4"], status=status, url=["u"] * 5)) == ["0", "3"]
    assert downloaded_keys(side_parquet(key=[0, 1], status=["success", "success"])) == ["0", "1"]
    assert downloaded_keys(side_parquet(key=[], status=[])) == []


def test_another_parquet_beside_the_shard_lists_nothing() -> None:
    assert downloaded_keys(side_parquet(uid=["a"], url=["u"])) is None


def test_a_side_parquet_that_is_damaged_says_so() -> None:
    with pytest.raises(UnreadableParquet, match=r"^it is no Parquet file: Parquet magic bytes not found"):
        downloaded_keys(io.BytesIO(b"PAR1 no Parquet"))
