"""LLaVA conversations: where images stand, who speaks, and what leaves a row out."""

import contextlib
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.documents.filters import DocumentFilters, filtered
from curation.images.decode import DecodeLimits
from curation.sources import SOURCES, ReadOptions
from schemas.records.document import Draft, from_members, to_members
from schemas.records.quarantine import Rejected
from tests.conftest import jpeg


def read(item: Any) -> Draft:
    draft = SOURCES.find("llava").read(item, ReadOptions())
    assert isinstance(draft, Draft)
    return draft


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]


def test_one_image_where_its_marker_is() -> None:
    row = {"id": "0001", "image": "coco/a.jpg", "conversations": turns("<image>\nWhat is it?", "A cat."), "model": "x"}
    draft = read(row)
    assert (draft.uid, draft.parts, draft.roles) == (
        "0001",
        (0, "What is it?", "A cat."),
        ("user", "user", "assistant"),
    )
    assert [image.source for image in draft.images] == ["coco/a.jpg"]
    assert json.loads(draft.metadata) == {"model": "x"}
    assert read(json.dumps(row)) == draft  # a line of JSONL


def test_images_within_the_text_and_in_later_turns() -> None:
    draft = read(
        {
            "id": 7,
            "image": ["a.jpg", "b.jpg", "c.jpg"],
            "conversations": [
                {"from": "system", "value": "Be short."},
                *turns("Image1: <image>, image2: <image> Same?", "No.", "And this? <image>", "Yes: <image>"),
            ],
        }
    )
    assert draft.uid == "7"
    assert draft.parts == ("Be short.", "Image1:", 0, ", image2:", 1, "Same?", "No.", "And this?", 2, "Yes: <image>")
    assert draft.roles == ("system", *["user"] * 5, "assistant", "user", "user", "assistant")


def test_one_image_without_a_marker_comes_first() -> None:
    draft = read({"image": "a.jpg", "conversations": [{"from": "system", "value": "s"}, *turns("What?", "This.")]})
    assert (draft.parts, draft.roles) == (("s", 0, "What?", "This."), ("system", "user", "user", "assistant"))


def test_text_alone_and_the_spellings_of_mantis_and_mmdu() -> None:
    assert read({"conversations": turns("Hi", "Hello")}).images == ()
    mantis = {
        "images": [{"bytes": None, "path": "m.png"}],
        "conversation": [{"role": "user", "content": "<image> ?"}, {"role": "assistant", "content": "!"}],
    }
    assert (read(mantis).parts, read(mantis).images[0].source) == ((0, "?", "!"), "m.png")


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"image": "a.jpg", "conversations": turns("<image> <image>", "x")}, "1 images and 2 <image> markers"),
        ({"image": ["a", "b"], "conversations": turns("which?", "x")}, "2 images and 0 <image> markers"),
        ({"conversations": turns("<image> what?", "x")}, "0 images and 1 <image> markers"),
        ({"conversations": turns("Hi")}, "nobody answers"),
        ({"conversations": turns("Hi", " ")}, "nobody answers"),
        ({"conversations": [{"from": "gpt", "value": "Hi"}]}, "nobody asks"),
        ({"conversations": turns("a", "b") + turns("c", "d")[1:]}, "turns 1 and 2 are both the assistant's"),
        (
            {"conversations": [{"from": "bing", "value": "a"}]},
            "turn 0 is from 'bing': neither human nor gpt nor system",
        ),
        ({"conversations": [{"from": "human"}]}, "turn 0 says nothing"),
        ({"conversations": ["a"]}, "turn 0 is no object"),
        ({"conversations": "a"}, "conversations is a str, not a list"),
        ({"image": [3], "conversations": turns("a", "b")}, "image 0 is no path"),
        ({}, "nobody answers"),
        (["a"], "a list, not an object"),
        ("[", "the line is not JSON: Expecting value: line 1 column 2 (char 1)"),
    ],
)
def test_rows_that_are_left_out(row: Any, fault: str) -> None:
    with pytest.raises(Rejected) as error:
        read(row)
    assert str(error.value) == f"malformed_row: {fault}"


def test_a_path_that_can_be_stored_nowhere_is_one_of_no_file() -> None:
    draft = read({"image": "a\ud83d.jpg", "conversations": turns("<image> what?", "x")})
    assert (draft.images[0].source, draft.images[0].metadata) == ("a?.jpg", '{"path": "a?.jpg"}')


texts = st.sampled_from(["<image>", "a.jpg", "\ud83d", "human", "gpt", "é"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["from", "value", "path", "\udc00"]), inner)
    ),
    max_leaves=8,
)
answered = st.tuples(texts, texts).map(lambda said: turns(*said))
NAMES = ("id", "image", "images", "conversations", "other")


@given(row=st.dictionaries(st.sampled_from(NAMES), values | texts), said=st.none() | answered)
def test_nothing_but_rejected_comes_of_any_row(row: dict[str, Any], said: list[Any] | None) -> None:
    with contextlib.suppress(Rejected):
        draft = read(row | ({} if said is None else {"conversations": said}))
        assert sum(isinstance(part, int) for part in draft.parts) == len(draft.images)
        for text in (draft.uid or "", draft.metadata, *map(str, draft.parts), *(str(i.source) for i in draft.images)):
            text.encode()


def test_a_file_is_a_list() -> None:
    items = SOURCES.find("llava").items
    assert items is not None
    assert list(items(io.BytesIO(b'[{"id": 1}, {"id": 2}]'))) == [{"id": 1}, {"id": 2}]


def test_a_conversation_is_kept_as_a_whole_or_left_out() -> None:
    """An answer may be about any of its images: none is dropped, and one that comes twice stays twice."""
    draft = read({"image": ["a.jpg", "b.jpg"], "conversations": turns("<image> and <image> ?", "The same.")})
    images = tuple(replace(image, source=jpeg(1)) for image in draft.images)
    found = filtered(replace(draft, images=images), "k", "llava", DocumentFilters(), DecodeLimits()).document
    assert (found.parts, found.roles) == ((0, "and", 1, "?", "The same."), ("user",) * 4 + ("assistant",))
    assert from_members("k", dict(to_members(found))) == found
    with pytest.raises(Rejected) as error:
        filtered(replace(draft, images=(images[0], draft.images[1])), "k", "llava", DocumentFilters(), DecodeLimits())
    assert str(error.value) == "lost_image: image 1: b.jpg is in no store"
