"""The img2dataset layout: what a sample says, and why one can't be used."""

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.layouts.datacomp import (
    IMAGE_EXTENSIONS,
    MAX_METADATA_BYTES,
    read_downloaded_keys,
    read_image,
    read_metadata,
    read_sample,
    read_uid,
    side_schema,
)
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


def test_the_side_parquet_has_boxes_where_faces_were_blurred() -> None:
    sizes = ["width", "height", "original_width", "original_height"]
    names = ["caption", "url", "key", "status", "error_message", *sizes, "exif", "sha256"]
    assert side_schema(has_boxes=False).names == ["uid", *names]
    assert side_schema(has_boxes=True).names == ["uid", "face_bboxes", *names]
    types = {field.name: str(field.type) for field in side_schema(has_boxes=True)}
    numbers = {"face_bboxes": "list<item: list<item: double>>"} | dict.fromkeys(sizes, "int32")
    assert types == dict.fromkeys(types, "string") | numbers


@pytest.mark.parametrize("extension", IMAGE_EXTENSIONS)
def test_every_kind_of_image_is_found(extension: str) -> None:
    assert read_sample(sample_of(json=b"{}", **{extension: b"x"})).extension == extension


def test_the_caption_is_that_of_the_text_member_else_of_the_metadata_else_empty() -> None:
    said = json.dumps(METADATA).encode()
    assert read_sample(sample_of(jpg=b"", json=said)).caption == "a cat"
    assert read_sample(sample_of(jpg=b"", json=said, txt=b"")).caption == ""
    assert read_sample(sample_of(jpg=b"", json=b"{}")).caption == ""
    for nothing in (b'{"caption": null}', b'{"caption": NaN}'):
        assert read_sample(sample_of(jpg=b"", json=nothing)).caption == ""


def test_a_caption_that_is_a_number_or_has_a_byte_order_mark_is_kept() -> None:
    assert read_sample(sample_of(jpg=b"", json=b'{"caption": 5}')).caption == "5"
    assert read_sample(sample_of(jpg=b"", json=b'{"caption": 2.5}')).caption == "2.5"
    assert read_sample(sample_of(jpg=b"", json=b'{"caption": "\\ufeffa"}')).caption == "a"
    assert read_sample(sample_of(jpg=b"", json=b"\xef\xbb\xbf{}", txt=b"\xef\xbb\xbfa cat")).caption == "a cat"
    assert read_sample(sample_of(jpg=b"", json=b"{}", txt="ein Bär".encode("utf-16"))).caption == "ein Bär"


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"json": b'{"caption": ["a"]}'}, "not_text: the caption: a list, not a text"),
        ({"json": b'{"caption": {"en": "a"}}'}, "not_text: the caption: a dict, not a text"),
        ({"json": b'{"caption": true}'}, "not_text: the caption: a bool, not a text"),
        ({"json": rb'{"caption": "x\ud83d"}'}, "not_text: the caption: half of a surrogate pair at character 1"),
        ({"json": b"{}", "txt": b"caf\xe9"}, "not_text: the caption: not UTF-8: unexpected end of data at byte 3"),
        ({"txt": b"caf\xe9"}, "not_text: the caption: not UTF-8: unexpected end of data at byte 3"),
    ],
)
def test_a_caption_that_would_have_to_be_changed_is_told(members: dict[str, bytes], fault: str) -> None:
    sample = sample_of(jpg=b"x", **members)
    with pytest.raises(Rejected) as caught:
        read_sample(sample)
    assert str(caught.value) == fault
    assert read_image(sample)[:2] == ("jpg", sample.members["jpg"]), "the image itself is sound"


def test_images_and_texts_alone_are_samples_without_ids() -> None:
    found = read_sample(sample_of(png=b"x", txt=b"a cat"))
    assert (found.uid, found.url, found.caption, found.extension, found.metadata) == (None, None, "a cat", "png", {})
    assert not found.has_unreadable_metadata
    assert not read_sample(sample_of(png=b"x", txt=b"a cat", json=b"{}")).has_unreadable_metadata


def test_ids_that_are_numbers_become_text() -> None:
    for said, uid in ((b"5", "5"), (b"5.0", "5"), (b"null", None), (b"[5]", None), (b"NaN", None)):
        sample = sample_of(jpg=b"", json=b'{"url": {"a": 1}, "uid": ' + said + b"}")
        assert (read_sample(sample).uid, read_sample(sample).url) == (uid, None)
        assert read_uid(sample) == uid


def test_lone_surrogates_in_names_become_what_arrow_can_hold() -> None:
    said = rb'{"uid": "\ud800a", "url": "\udfff", "caption": "x"}'
    image = read_sample(sample_of(jpg=b"", json=said))
    assert (image.uid, image.url) == ("?a", "?")
    assert read_uid(sample_of(json=said)) == "?a"
    pa.array([image.uid, image.url], pa.string()).validate(full=True)


@pytest.mark.parametrize("extension", ["jpe", "jfif", "jp2", "j2k", "ppm", "pgm", "pbm", "img", "image", "heic"])
def test_less_usual_endings_of_images_are_known(extension: str) -> None:
    assert extension in IMAGE_EXTENSIONS


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
        b" " * (MAX_METADATA_BYTES + 1) + b"{}",
    ],
    ids=["empty", "cut", "null", "number", "text", "list", "UTF-16", "bytes", "digits", "deep", "brackets", "long"],
)
def test_metadata_that_is_no_object_is_missing_and_costs_no_caption(data: bytes) -> None:
    assert reason_of(sample_of(jpg=b"x", json=data)) is Reason.MISSING_METADATA
    found = read_sample(sample_of(jpg=b"x", json=data, txt=b"a cat"))
    assert (found.uid, found.url, found.caption, found.metadata) == (None, None, "a cat", {})
    assert found.has_unreadable_metadata
    assert read_uid(sample_of(jpg=b"x", json=data)) is None


def test_a_sample_without_metadata_is_missing_it() -> None:
    assert reason_of(sample_of(jpg=b"x")) is Reason.MISSING_METADATA
    assert read_uid(sample_of(jpg=b"x")) is None
    with pytest.raises(Rejected, match=r"no \.json member"):
        read_metadata(sample_of(jpg=b"x"))


def test_the_fault_of_the_shard_comes_first_and_the_uid_is_still_found() -> None:
    sample = sample_of(json=json.dumps(METADATA).encode())
    sample.mark_faulty(Reason.INCOMPLETE, "cut")
    sample.mark_faulty(Reason.DUPLICATE_KEY, "told second")
    assert reason_of(sample) is Reason.INCOMPLETE
    assert read_uid(sample) == METADATA["uid"]


def side_parquet(**columns: Any) -> io.BytesIO:
    """A side Parquet as it lies beside a shard."""
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    file.seek(0)
    return file


def test_the_side_parquet_lists_what_was_downloaded() -> None:
    status = ["success", "failed_to_download", "failed_to_resize", "success", None]
    assert read_downloaded_keys(side_parquet(key=["0", "1", "2", "3", "4"], status=status, url=["u"] * 5)) == ["0", "3"]
    assert read_downloaded_keys(side_parquet(key=[0, 1], status=["success", "success"])) == ["0", "1"]
    assert read_downloaded_keys(side_parquet(key=[], status=[])) == []


def test_keys_that_pandas_has_made_numbers_get_their_zeros_back() -> None:
    status = ["success", "success"]
    for key in ([0, 17], [0.0, 17.0]):
        assert read_downloaded_keys(side_parquet(key=key, status=status), {"00000"}) == ["00000", "00017"]
    assert read_downloaded_keys(side_parquet(key=["0", "17"], status=status), {"00000"}) == ["0", "17"]


def test_keys_without_zeros_are_found_by_their_numbers() -> None:
    status = ["success"] * 3
    for key in ([0, 7, 11], [0.0, 7.0, 11.0]):
        found = read_downloaded_keys(side_parquet(key=key, status=status), {"0", "7", "11", "x"})
        assert found == ["0", "7", "11"]
    assert read_downloaded_keys(side_parquet(key=[0, 7, 11], status=status), {"00", "11"}) == ["00", "07", "11"]


def test_another_parquet_beside_the_shard_lists_nothing() -> None:
    assert read_downloaded_keys(side_parquet(uid=["a"], url=["u"])) is None


def test_a_side_parquet_that_is_damaged_says_so() -> None:
    with pytest.raises(UnreadableParquet, match=r"^it is not a Parquet file: Parquet magic bytes not found"):
        read_downloaded_keys(io.BytesIO(b"PAR1 no Parquet"))
