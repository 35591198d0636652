"""Documents go to tar members and Parquet rows and come back as they were; what is wrong is named."""

import hashlib
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st

from schemas.records.document import (
    EXTENSIONS,
    ROLES,
    Document,
    DocumentImage,
    drop_blank_texts,
    drop_images,
    validate_document,
)
from schemas.records.document_storage import PARQUET_SCHEMA, from_members, from_row, to_members, to_row
from schemas.tar.reader import TarReader
from schemas.tar.writer import TarWriter
from tests.conftest import jpeg


def image(seed: int, **changes: Any) -> DocumentImage:
    data = jpeg(seed)
    sha256 = hashlib.sha256(data).hexdigest()
    return replace(DocumentImage(data, "jpg", 64, 48, sha256, f"https://example.org/{seed}.jpg", "{}"), **changes)


DOCUMENT = Document(
    key="00000000000007",
    uid="a" * 32,
    source="obelics",
    url="https://example.org/page",
    parts=("Zwei Bilder, ein Text: “été”.", 0, 1, "ende\n"),
    images=(image(1), image(2, url=None, metadata='{"alt_text": "zwei"}')),
    metadata='{"warc": null}',
)
TEXT = Document("t-1", None, "text", None, ("nothing but text",), (), "{}")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
objects = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=2).map(json.dumps)
images = st.builds(
    lambda data, extension, width, height, url, metadata: DocumentImage(
        data, extension, width, height, hashlib.sha256(data).hexdigest(), url, metadata
    ),
    st.binary(min_size=1, max_size=40),
    st.sampled_from(EXTENSIONS),
    st.integers(1, 2**31 - 1),
    st.integers(1, 2**31 - 1),
    st.none() | texts,
    objects,
)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    kinds = draw(st.lists(st.booleans(), min_size=1, max_size=8))
    shown = draw(st.lists(images, min_size=sum(kinds), max_size=sum(kinds)))
    numbers = iter(range(len(shown)))
    return Document(
        key=draw(st.from_regex(r"[A-Za-z0-9_-]{1,90}", fullmatch=True)),
        uid=draw(st.none() | texts),
        source=draw(texts),
        url=draw(st.none() | texts),
        parts=tuple(next(numbers) if is_image else draw(texts) for is_image in kinds),
        images=tuple(shown),
        metadata=draw(objects),
        roles=draw(st.none() | st.lists(st.sampled_from(ROLES), min_size=len(kinds), max_size=len(kinds)).map(tuple)),
    )


@given(documents())
def test_members_come_back_as_the_document(document: Document) -> None:
    members = to_members(document)
    assert members[0][0] == "json"
    assert from_members(document.key, dict(members)) == document


@given(st.lists(documents(), max_size=3))
def test_rows_come_back_as_the_documents(found: list[Document]) -> None:
    table = pa.Table.from_pylist([to_row(document) for document in found], schema=PARQUET_SCHEMA)
    assert [from_row(row) for row in table.to_pylist()] == found


def test_json_member_is_as_documented() -> None:
    (json_ending, content), *files = to_members(DOCUMENT)
    assert json_ending == "json"
    assert json.loads(content) == {
        "uid": "a" * 32,
        "source": "obelics",
        "url": "https://example.org/page",
        "parts": [{"text": "Zwei Bilder, ein Text: “été”."}, {"image": 0}, {"image": 1}, {"text": "ende\n"}],
        "images": [
            {
                "extension": "jpg",
                "width": 64,
                "height": 48,
                "sha256": DOCUMENT.images[0].sha256,
                "url": "https://example.org/1.jpg",
                "metadata": "{}",
            },
            {
                "extension": "jpg",
                "width": 64,
                "height": 48,
                "sha256": DOCUMENT.images[1].sha256,
                "url": None,
                "metadata": '{"alt_text": "zwei"}',
            },
        ],
        "metadata": '{"warc": null}',
    }
    assert files == [("0.jpg", jpeg(1)), ("1.jpg", jpeg(2))]


def test_conversations_say_who_speaks_and_documents_nothing_of_it() -> None:
    (_, plain), *_ = to_members(TEXT)
    assert "roles" not in json.loads(plain)
    told = replace(TEXT, parts=("Hi", "Hello"), roles=("user", "assistant"))
    (_, content), *_ = to_members(told)
    assert json.loads(content)["roles"] == ["user", "assistant"]
    assert from_members(told.key, {"json": content}) == told
    old = {
        name: value for name, value in to_row(TEXT).items() if name != "roles"
    }  # of a set made before there were any
    assert from_row(old) == TEXT


def test_roles_stay_with_their_parts() -> None:
    told = replace(DOCUMENT, parts=("a", 0, 1, " "), roles=("system", "user", "user", "assistant"))
    assert drop_images(told, {0}).roles == ("system", "user", "assistant")
    assert (drop_blank_texts(told).parts, drop_blank_texts(told).roles) == (("a", 0, 1), ("system", "user", "user"))


def test_tar_is_read_by_our_reader_and_by_webdataset(tmp_path: Path) -> None:
    path = tmp_path / "documents.tar"
    with path.open("wb") as file:
        writer = TarWriter(file)
        for document in (DOCUMENT, TEXT):
            for ending, data in to_members(document):
                writer.add(f"{document.key}.{ending}", data)
        writer.close()
    with path.open("rb") as file:
        samples = list(TarReader(file))
    read = [from_members(s.key, {name: member.data for name, member in s.members.items()}) for s in samples]
    assert read == [DOCUMENT, TEXT]
    found = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [sample["__key__"] for sample in found] == [DOCUMENT.key, TEXT.key]
    assert found[0]["1.jpg"] == jpeg(2)
    assert tarfile.open(path).getnames() == [  # noqa: SIM115
        "00000000000007.json",
        "00000000000007.0.jpg",
        "00000000000007.1.jpg",
        "t-1.json",
    ]


def test_parquet_is_read_by_datasets_and_polars(tmp_path: Path) -> None:
    path = tmp_path / "documents.parquet"
    pq.write_table(pa.Table.from_pylist([to_row(TEXT), to_row(DOCUMENT)], schema=PARQUET_SCHEMA), path)
    loaded = load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded[0]["images"] == [None]
    assert [picture and picture.size for picture in loaded[1]["images"]] == [None, (64, 48), (64, 48), None]
    assert loaded[1]["texts"] == ["Zwei Bilder, ein Text: “été”.", None, None, "ende\n"]
    assert loaded[1]["image_details"][2]["metadata"] == '{"alt_text": "zwei"}'
    frame = pl.read_parquet(path)
    assert frame["key"].to_list() == ["t-1", "00000000000007"]
    assert frame["images"][1][1]["path"] == "00000000000007.0.jpg"


def test_dropped_images_leave_the_others_in_their_places() -> None:
    less = drop_images(DOCUMENT, {0})
    assert less.parts == ("Zwei Bilder, ein Text: “été”.", 0, "ende\n")
    assert less.images == (DOCUMENT.images[1],)
    validate_document(less)
    assert drop_images(DOCUMENT, ()) == DOCUMENT


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"key": "a.b"}, "key: 'a.b' is not 1 to 90 letters, digits, _ and -"),
    ({"key": "../up"}, "key: '../up' is not 1 to 90 letters, digits, _ and -"),
    ({"key": ""}, "key: '' is not 1 to 90 letters, digits, _ and -"),
    ({"source": ""}, "source: an empty text"),
    ({"uid": 3}, "uid: not a text"),
    ({"parts": ()}, "parts: there are none"),
    ({"parts": ("a", 0, 1, 5)}, "part 3: image 5 of 2"),
    ({"parts": ("a", 0, -1)}, "part 2: image -1 of 2"),
    ({"parts": ("a", 1, 0)}, "part 1: image 1 where image 0 is due"),
    ({"parts": ("a", 0, 0)}, "part 2: image 0 where image 1 is due"),
    ({"parts": (0, "a")}, "image 1: no part refers to it"),
    ({"parts": (0, 1, "")}, "part 2: an empty text"),
    ({"parts": (0, 1, "\ud83d")}, "part 2: half of a surrogate pair, which can be stored nowhere"),
    ({"parts": (False, 1)}, "part 0: a bool, neither a text nor an image's number"),
    ({"parts": (0, 1, None)}, "part 2: a NoneType, neither a text nor an image's number"),
    ({"roles": ("user",)}, "roles: 1 of 4 parts"),
    ({"roles": ("user", "user", "bot", "user")}, "part 2: its role 'bot' is not one of system, user, assistant"),
    ({"metadata": "[]"}, "metadata: it is not a JSON object"),
    ({"metadata": ""}, "metadata: an empty text"),
    ({"images": (image(1), image(2, data=b""))}, "image 1: no bytes"),
    ({"images": (image(1), image(2, width=0))}, "image 1: 0 x 48 pixels"),
    ({"images": (image(1), image(2, sha256="A" * 64))}, "image 1: sha256 is not 64 lower-case hexadecimal digits"),
    ({"images": (image(1), image(2, url=""))}, "image 1: url: an empty text"),
    ({"images": (image(1), image(2, metadata="{"))}, "image 1: metadata: it is not JSON: "),
    (
        {"images": (image(1), image(2, extension="jpeg"))},
        "image 1: extension 'jpeg' is not one of jpg, png, webp, gif, bmp, tif, avif, jp2, ppm",
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_part_is_named(changes: dict[str, Any], message: str) -> None:
    wrong = replace(DOCUMENT, **changes)
    for check in (validate_document, to_members, to_row):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            check(wrong)
        assert str(error.value).startswith(message)
        assert "\n" not in str(error.value)


def members(**changes: Any) -> dict[str, bytes]:
    found = dict(to_members(DOCUMENT))
    found["json"] = json.dumps(json.loads(found["json"]) | changes).encode()
    return found


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({}, "there is no .json member"),
        ({"json": b"{"}, "the .json member is not JSON"),
        ({"json": b"[]"}, "the .json member is not a JSON object"),
        ({"json": b'{"a":' * 100_000}, "the .json member is nested too deep"),
        ({"json": b"\xff{}"}, "the .json member is not JSON"),
        (members(images=None), "images: not a list"),
        (members(images=[]), "member 0.jpg: no part of the document"),
        (members(images=[{}]), "image 0: extension is missing"),
        (members(images=[3]), "image 0: extension is missing"),
        (members(parts=[{"text": "a", "image": 0}]), "part 0: neither a text nor an image"),
        (members(parts=[{"image": True}]), "part 0: image is a bool"),
        (members(parts=[{"text": None}]), "part 0: text is missing"),
        (members(parts="text"), "parts: not a list"),
        (members(url=3), "url: url is a int"),
        (members(uid=3), "uid: uid is a int"),
        (members(source=None), "source: source is missing"),
        (members(parts=[{"image": 0}, {"image": 3}]), "part 1: image 3 of 2"),
        ({name: data for name, data in members().items() if name != "1.jpg"}, "image 1: there is no member 1.jpg"),
        (members() | {"2.jpg": b"x"}, "member 2.jpg: no part of the document"),
    ],
)
def test_wrong_members_are_named(found: dict[str, bytes], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        from_members("k", found)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": None}, "texts: not a list"),
        ({"texts": ["a"]}, "1 texts, 4 images and 4 image_details are not of a kind"),
        ({"texts": ["a", "b", None, "c"]}, "part 1: not either a text or an image with its details"),
        ({"image_details": [None] * 4}, "part 1: not either a text or an image with its details"),
        ({"metadata": None}, "metadata: metadata is missing"),
        ({"key": None}, "key: key is missing"),
        ({"images": [None, {"bytes": None, "path": "a.jpg"}, None, None]}, "part 1: bytes is missing"),
    ],
)
def test_wrong_rows_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        from_row(to_row(DOCUMENT) | changes)
    assert str(error.value).startswith(message)


def test_a_turn_that_is_not_learnt_is_stored_and_read_back() -> None:
    document = replace(DOCUMENT, roles=("user", "user", "context", "assistant"))
    assert from_members(document.key, dict(to_members(document))) == document
    assert from_row(to_row(document)) == document
