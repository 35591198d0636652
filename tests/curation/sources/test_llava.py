"""LLaVA conversations: where images stand, who speaks, and what leaves a row out."""

import contextlib
import io
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.documents.filters import DocumentFilters, filter_document
from curation.images.decode import DecodeLimits
from curation.sources import SOURCES, ReadOptions
from schemas.records.document import ParsedDocument
from schemas.records.document_storage import from_members, to_members
from schemas.records.quarantine import Rejected
from tests.conftest import jpeg
from tests.support.growth import assert_linear


def read(item: Any) -> ParsedDocument:
    draft = SOURCES.find("llava").read(item, ReadOptions())
    assert isinstance(draft, ParsedDocument)
    return draft


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]


SYSTEM = {"from": "system", "value": "Be short."}


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
        ({"conversations": ["a"]}, "turn 0 is not an object"),
        ({"conversations": "a"}, "conversations is a str, not a list"),
        ({"image": [3], "conversations": turns("a", "b")}, "image 0 is neither bytes nor a path"),
        (
            {"images": ["a", {"bytes": b"", "path": None}], "conversations": turns("a", "b")},
            "image 1 is neither bytes nor a path",
        ),
        (
            {"image": "data:image/png;base64,?", "conversations": turns("a", "b")},
            "image 0 is a data: URL without base64",
        ),
        ({"image": "a.jpg", "conversations": turns("", "A1.", "Q2?", "A2.")}, "turn 0 says nothing"),
        ({"image": "a.jpg", "conversations": [SYSTEM, *turns(" \n", "A1.")]}, "turn 1 says nothing"),
        ({"image": "a.jpg", "messages": [{"role": "user", "content": []}, *turns("", "A")[1:]]}, "turn 0 says nothing"),
        ({"images": ["a.jpg", "b.jpg"], "texts": [{"user": " ", "assistant": "A"}]}, "turn 0 says nothing"),
        ({"conversations": turns("Q1?", "", "Q2?", "A2.")}, "turn 1 says nothing"),
        ({"conversations": turns("Q1?", " \n", "Q2?", "A2.")}, "turn 1 says nothing"),
        ({"conversations": turns("Q1?", "A1.", "\t", "A2.")}, "turn 2 says nothing"),
        ({"conversations": turns("Q1?", "A1.", "Q2?", "")}, "turn 3 says nothing"),
        ({"conversations": turns("Q1?", " <image>\n", "Q2?", "A2.")}, "turn 1 says nothing"),
        (
            {"conversations": [SYSTEM, {"from": "system", "value": ""}, *turns("a", "b")]},
            "turns 0 and 1 are both the system's",
        ),
        ({"conversations": [SYSTEM, SYSTEM, *turns("a", "b")]}, "turns 0 and 1 are both the system's"),
        ({"conversations": [{"from": "system", "value": " "}, *turns("a", "b")]}, "turn 0 says nothing"),
        ({"conversations": [turns("a")[0], SYSTEM, *turns("a", "b")]}, "turns 0 and 1 are both the user's"),
        ({"system": "s", "system_prompt": "t", "conversations": turns("a", "b")}, "system and system_prompt differ"),
        (
            {"system": "s", "conversations": [SYSTEM, *turns("a", "b")]},
            "the row's system prompt is not that of its first turn",
        ),
        (
            {"image": "a", "images": ["b"], "conversations": turns("a", "b")},
            "image and images differ: 1 and 1 images, or others",
        ),
        ({"conversations": turns("<Image> ?", "x")}, "0 images and 1 <image> markers"),
        ({"conversations": turns("What is in <image 1>?", "x")}, "0 images and 1 <image> markers"),
        (
            {"image": "a.jpg", "conversations": turns("<|image_pad|><|image_pad|>?", "x")},
            "1 images and 2 <image> markers",
        ),
        (
            {"images": ["a.jpg", "b.jpg"], "conversations": turns("<image_1> <image_3> ?", "x")},
            "2 images and markers with the numbers 1, 3",
        ),
        (
            {"images": ["a.jpg", "b.jpg"], "conversations": turns("<image 2> <image> ?", "x")},
            "2 images and markers with the numbers 2, none",
        ),
        (
            {"images": ["a.jpg", "b.jpg"], "conversations": turns("<image 1> <image 1> ?", "x")},
            "2 images and markers with the numbers 1, 1",
        ),
        ({"conversations": turns("<img>a.jpg</img> ?", "x")}, "0 images and 1 <image> markers"),
        ({"conversations": turns("<im_start><image><im_end> ?", "x")}, "0 images and 1 <image> markers"),
        (
            {"image": "a.jpg", "conversations": turns("<img>b.jpg</img> ?", "x")},
            "a place for 'b.jpg' where 'a.jpg' is due",
        ),
        (
            {"image": ["a.jpg", "b.jpg"], "conversations": turns("<image><img>a.jpg</img> ?", "x")},
            "a place for 'a.jpg' where 'b.jpg' is due",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "file"}]}]},
            "turn 0 has a part of the type 'file': neither text nor image",
        ),
        (
            {"messages": [{"role": "user", "content": [3]}]},
            "turn 0 has a part of the type 'None': neither text nor image",
        ),
        ({"conversations": [turns("a")[0], {"from": "gpt", "value": "b", "loss": False}]}, "nobody answers"),
        ({"texts": ["a"]}, "exchange 0 is not an object"),
        ({"texts": [{"user": "a"}]}, "turn 1 says nothing"),
        ({}, "nobody answers"),
        (["a"], "a list, not an object"),
        ("[", "the line is not JSON: Expecting value: line 1 column 2 (char 1)"),
    ],
)
def test_rows_that_are_left_out(row: Any, fault: str) -> None:
    with pytest.raises(Rejected) as error:
        read(row)
    assert str(error.value) == f"malformed_row: {fault}"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"video": "a.mp4"}, "the row has video"),
        ({"videos": ["a.mp4"], "image": "a.jpg"}, "the row has videos"),
        ({"audio": {"path": "a.wav"}}, "the row has audio"),
        ({"audios": [None, "a.wav"]}, "the row has audios"),
        ({"Video_Path": "a.mp4"}, "the row has Video_Path"),
        ({"sound": "a.wav"}, "the row has sound"),
        ({"video_id": "v1", "image": "a.jpg"}, "the row has video_id"),
        ({"audio_id": 7}, "the row has audio_id"),
        ({"movie": "a.mp4"}, "the row has movie"),
        ({"conversations": [{"from": "human", "value": "What?", "video": "a.mp4"}]}, "turn 0 has video"),
        ({"messages": [{"role": "user", "content": "What?", "audio": {"url": "a.wav"}}]}, "turn 0 has audio"),
        ({"texts": [{"user": "What?", "assistant": "That.", "video_path": "a.mp4"}]}, "turn 0 has video_path"),
        ({"conversations": turns("<|video_pad|>\nWhat?", "A fall.")}, "the text has the marker <|video_pad|>"),
        ({"conversations": turns("<video_0> What?", "A fall.")}, "the text has the marker <video_0>"),
        ({"conversations": turns("<video>\nWhat happens?", "A fall.")}, "the text has the marker <video>"),
        ({"conversations": turns("Hear: <Audio>", "A bell.")}, "the text has the marker <Audio>"),
        ({"conversations": turns("<videos>\nWhat?", "A fall.")}, "the text has the marker <videos>"),
        ({"conversations": turns("<video/> What?", "A fall.")}, "the text has the marker <video/>"),
        ({"conversations": turns("<video />", "A fall.")}, "the text has the marker <video />"),
        ({"conversations": turns("<|audio_bos|>", "A bell.")}, "the text has the marker <|audio_bos|>"),
        (
            {"conversations": turns("<video width='9' src='a.mp4'></video> What?", "A fall.")},
            "the text has the marker <video width='9' src",
        ),
        (
            {"conversations": [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "x"}}]}]},
            "turn 0 has a part of the type video_url",
        ),
    ],
)
def test_videos_and_sounds_are_unsupported(row: dict[str, Any], fault: str) -> None:
    with pytest.raises(Rejected) as error:
        read(({} if {"messages", "texts"} & set(row) else {"conversations": turns("What?", "That.")}) | row)
    assert str(error.value) == f"unsupported_media: {fault}"


@pytest.mark.parametrize("name", ["video", "videos", "audio", "audios"])
@pytest.mark.parametrize(
    "value",
    [*(None, "", [], [None], {}, False), {"bytes": None, "path": None}, [{"path": "", "sampling_rate": 16000}]],
)
def test_a_field_that_says_nothing_is_no_video(name: str, value: Any) -> None:
    assert read({name: value, "conversations": turns("What?", "That.")}).parts == ("What?", "That.")


@pytest.mark.parametrize("row", [{"system": " Be short.\n"}, {"system_prompt": "Be short.", "system": None}])
def test_the_system_prompt_of_a_row_is_its_first_turn(row: dict[str, Any]) -> None:
    draft = read(row | {"conversations": turns("a", "b")})
    assert (draft.parts, draft.roles) == (("Be short.", "a", "b"), ("system", "user", "assistant"))
    assert draft.metadata == "{}"


@pytest.mark.parametrize(
    "row",
    [
        {"system": "Be short.", "system_prompt": ""},
        {"system": " Be short.\n"},
        {"system": "Be short.\n", "system_prompt": "Be short."},
    ],
)
def test_a_system_prompt_that_stands_twice_is_one(row: dict[str, Any]) -> None:
    draft = read(row | {"conversations": [SYSTEM, *turns("a", "b")]})
    assert draft.parts == ("Be short.", "a", "b")
    blank = read(row | {"system": "Be short.", "system_prompt": " ", "conversations": turns("a", "b")})
    assert blank.parts == draft.parts


@pytest.mark.parametrize(
    "mark",
    [
        *({"loss": value} for value in (False, 0, "false", "False", " FALSE ", "0", "0.0", "no", " Off")),
        {"train": False},
        {"train": "False"},
        {"weight": 0},
        {"weight": 0.0},
        {"weight": "0"},
    ],
)
def test_a_turn_that_is_not_to_be_learnt_is_context(mark: dict[str, Any]) -> None:
    said = turns("a", "b", "c", "d")
    said[1] |= mark
    said[0] |= mark
    draft = read({"conversations": said})
    assert (draft.parts, draft.roles) == (("a", "b", "c", "d"), ("user", "context", "user", "assistant"))
    said[1] |= {"loss": "True", "train": True, "weight": 1}
    assert read({"conversations": said}).roles == ("user", "assistant", "user", "assistant")


@pytest.mark.parametrize(
    ("answer", "stored"),
    [
        ("    return x\n", "    return x"),
        (" A cat.", " A cat."),
        ("A cat.\n\n", "A cat."),
        ("\n \n\tindented\r\n  more\n", "\tindented\r\n  more"),
        ("\r\n  x", "  x"),
        ("See <image> here", "See <image> here"),
    ],
)
def test_an_answer_keeps_its_indent(answer: str, stored: str) -> None:
    assert read({"conversations": turns(" ask ", answer)}).parts == ("ask", stored)


@pytest.mark.parametrize(
    "row",
    [
        *({"image": ""}, {"image": None}, {"image": []}, {"images": ""}, {"image": [None, ""]}),
        {"image": {"bytes": None, "path": None}},
        {"images": [{"bytes": b"", "path": None}, {"bytes": None, "path": ""}], "image_url": {"url": None}},
    ],
)
def test_an_empty_image_is_none(row: dict[str, Any]) -> None:
    draft = read(row | {"conversations": turns("a", "b")})
    assert (draft.images, draft.parts) == ((), ("a", "b"))


@pytest.mark.parametrize("row", [{"image": None}, {"image": ""}, {"image": ["a.jpg"]}, {"image": "a.jpg"}])
def test_images_are_taken_where_image_says_nothing_else(row: dict[str, Any]) -> None:
    draft = read(row | {"images": ["a.jpg"], "conversations": turns("<image> a", "b")})
    assert ([image.source for image in draft.images], draft.parts) == (["a.jpg"], (0, "a", "b"))


@pytest.mark.parametrize(
    ("turn", "parts", "sources"),
    [
        ({"content": "What?", "images": ["a.jpg"]}, (0, "What?"), ["a.jpg"]),
        ({"content": "What?", "image": "a.jpg"}, (0, "What?"), ["a.jpg"]),
        ({"content": "What?", "image_url": {"url": "http://a/b"}}, (0, "What?"), ["http://a/b"]),
        ({"content": "What?", "images": [{"bytes": b"1", "path": None}, "b"]}, (0, 1, "What?"), [b"1", "b"]),
        ({"content": "See <image> here", "image": "a.jpg"}, ("See", 0, "here"), ["a.jpg"]),
        ({"content": "<img>b</img>, <img>a</img>", "images": ["a", "b"]}, (0, ",", 1), ["b", "a"]),
        ({"content": [{"type": "text", "text": "x"}, {"type": "image"}], "image": "a"}, ("x", 0), ["a"]),
        ({"content": "What?", "images": []}, ("What?",), []),
    ],
)
def test_images_of_a_turn_stand_in_it(turn: dict[str, Any], parts: tuple[Any, ...], sources: list[Any]) -> None:
    said = [*turns("a", "b"), {"role": "user"} | turn, *turns("", "c")[1:]]
    draft = read({"messages": said})
    assert draft.parts == ("a", "b", *parts, "c")
    assert [image.source for image in draft.images] == sources
    assert draft.roles == ("user", "assistant", *["user"] * len(parts), "assistant")


def test_images_of_turns_that_the_row_names_again_are_the_same() -> None:
    said = [turns("a")[0] | {"image": "a.jpg"}, turns("", "b")[1]]
    assert [image.source for image in read({"image": "a.jpg", "conversations": said}).images] == ["a.jpg"]
    for row, fault in (
        ({"image": "b.jpg", "conversations": said}, "1 images and 0 <image> markers"),
        (
            {"conversations": [said[0] | {"value": "<image> <image>"}, said[1]]},
            "1 images and 2 <image> markers",
        ),
    ):
        with pytest.raises(Rejected) as error:
            read(row)
        assert str(error.value) == f"malformed_row: {fault}"


def test_an_image_of_an_exchange_is_in_its_question() -> None:
    exchanges = [{"user": "a", "assistant": "A"}, {"user": "b", "assistant": "B", "image": "b.jpg"}]
    draft = read({"texts": exchanges})
    assert (draft.parts, [image.source for image in draft.images]) == (("a", "A", 0, "b", "B"), ["b.jpg"])


@pytest.mark.parametrize(
    ("row", "source", "metadata"),
    [
        ({"image_path": "a.jpg"}, "a.jpg", {}),
        ({"image_url": "http://a/b.jpg"}, "http://a/b.jpg", {}),
        ({"img": "a.jpg"}, "a.jpg", {}),
        ({"img_path": ["a.jpg"]}, "a.jpg", {}),
        ({"image_urls": ["http://a/b.jpg"], "image_file": "a.jpg"}, "a.jpg", {"image_urls": ["http://a/b.jpg"]}),
        ({"image": b"1", "image_url": "http://a/b.jpg"}, b"1", {"image_url": "http://a/b.jpg"}),
    ],
)
def test_images_in_other_fields(row: dict[str, Any], source: Any, metadata: dict[str, Any]) -> None:
    draft = read(row | {"conversations": turns("What?", "That.")})
    assert (draft.parts, draft.images[0].source) == ((0, "What?", "That."), source)
    assert json.loads(draft.metadata) == metadata


@pytest.mark.parametrize(
    "marker",
    [
        *("<image>", "<Image>", "<IMAGE>", "<img>a.jpg</img>", "<img> a.jpg </img>", "<im_start> <image>\n<im_end>"),
        *("<ImageHere>", "<|image_pad|>", "<|vision_start|><|image_pad|><|vision_end|>", "<|image|>", "<|image_1|>"),
        *("<image_1>", "<image 1>", "<Image1>", "<image_0>", "<image_placeholder>", "<image/>", "<start_of_image>"),
        *("<img><image></img>", "<image>./</image>", "<img><IMG_CONTEXT></img>", "<img_1>"),
    ],
)
def test_markers_in_all_spellings(marker: str) -> None:
    draft = read({"image": "a.jpg", "conversations": turns(f"See {marker}\n here", f"b {marker}")})
    assert draft.parts == ("See", 0, "here", f"b {marker}")


def test_paths_in_markers_say_which_image_it_is() -> None:
    asked = "First <img>b.jpg</img>, then <img>a.jpg</img>"
    draft = read({"image": ["a.jpg", "b.jpg"], "conversations": turns(asked, "x")})
    assert [image.source for image in draft.images] == ["b.jpg", "a.jpg"]
    assert draft.parts == ("First", 0, ", then", 1, "x")


@pytest.mark.parametrize("asked", ["<image_2> or <image_1>?", "<|image_1|> or <|image_0|>?", "<Image 2> or <image 1>?"])
def test_numbers_in_markers_say_which_image_it_is(asked: str) -> None:
    draft = read({"images": ["a.jpg", "b.jpg"], "conversations": turns(asked, "x")})
    assert [image.source for image in draft.images] == ["b.jpg", "a.jpg"]
    assert draft.parts == (0, "or", 1, "?", "x")


@pytest.mark.parametrize("text", ["<img>", "<img/>", "<imagery>", "<img src='a.jpg'>", "<images>", "<video game>"])
def test_what_is_no_marker_stays(text: str) -> None:
    assert read({"conversations": turns(f"What is {text}?", "x")}).parts == (f"What is {text}?", "x")


def test_roles_in_capitals() -> None:
    said = [{"from": "Human", "value": "a"}, {"from": "GPT", "value": "b"}, {"from": "User", "value": "c"}]
    assert read({"conversations": said}).roles == ("user", "assistant", "user")
    assert read(
        {"conversations": [{"from": None, "role": "human", "value": None, "content": "a"}, *turns("", "b")[1:]]}
    )


def test_messages_with_lists_of_parts() -> None:
    """In Parquet each part has all fields, most of them null. Texts side by side stand on lines of their own."""
    asked = [
        {"type": "text", "text": "Look:", "image_url": None},
        {"type": "image_url", "text": None, "image_url": {"url": "https://example.org/a.jpg"}},
        {"type": "text", "text": "one", "image_url": None},
        {"type": "text", "text": "two", "image_url": None},
    ]
    said = [{"role": "developer", "content": "s"}, {"role": "user", "content": asked}]
    said.append({"role": "assistant", "content": [{"type": "text", "text": " b\n"}]})
    draft = read({"messages": said})
    assert (draft.parts, draft.roles) == (("s", "Look:", 0, "one\ntwo", " b"), ("system", *["user"] * 3, "assistant"))
    assert [image.source for image in draft.images] == ["https://example.org/a.jpg"]
    asked[1] = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    assert read({"messages": said}).images[0].source == b"hi"
    row = {"messages": said, "images": [{"bytes": b"x", "path": "p.png"}]}
    for url in (None, {"url": None}, {"url": "", "detail": "auto"}):
        asked[1] = {"type": "image", "text": None, "image_url": url}
        assert [image.source for image in read(row).images] == [b"x"]
    asked[2]["image_url"] = {"url": "http://a/b"}
    assert read(row).parts == ("s", "Look:", 0, 1, "one\ntwo", " b")
    asked[2]["video"] = "a.mp4"
    with pytest.raises(Rejected, match=r"unsupported_media: turn 1 has video"):
        read(row)


def test_images_that_lie_in_the_row() -> None:
    mantis = {"images": [{"bytes": b"1", "path": "m.png"}, {"bytes": b"2", "path": None}]}
    draft = read(mantis | {"conversation": [{"role": "user", "content": "<image> <image> ?"}, *turns("", "!")[1:]]})
    assert [(image.source, image.metadata) for image in draft.images] == [(b"1", '{"path": "m.png"}'), (b"2", "{}")]
    assert read({"image": b"3", "conversations": turns("?", "!")}).images[0].source == b"3"


def test_the_cauldron_has_exchanges_and_its_images_first() -> None:
    exchanges = [{"user": "a?", "assistant": "A.", "source": "s"}, {"user": "b?", "assistant": "B.", "source": "t"}]
    draft = read({"images": [{"bytes": b"1", "path": None}, {"bytes": b"2", "path": None}], "texts": exchanges})
    assert draft.parts == (0, 1, "a?", "A.", "b?", "B.")
    assert draft.roles == (*["user"] * 3, "assistant", "user", "assistant")
    assert draft.metadata == '{"sources": ["s", "t"]}'


def test_what_is_said_is_kept_as_it_is_or_named() -> None:
    assert read({"conversations": [*turns("\ufeffHow many?", "x")[:1], {"from": "gpt", "value": 42}]}).parts == (
        "How many?",
        "42",
    )
    for bad, fault in ((True, "turn 1: a bool"), ({"a": "b"}, "turn 1: a dict"), (float("inf"), "turn 1: a float")):
        with pytest.raises(Rejected) as error:
            read({"conversations": [turns("Hi")[0], {"role": "assistant", "content": bad}]})
        assert str(error.value) == f"not_text: {fault}, not a text"
    with pytest.raises(Rejected, match=r"not_text: system: a list, not a text"):
        read({"system": ["s"], "conversations": turns("a", "b")})
    for bad in ("a\ud83d", ["\udc00"]):
        with pytest.raises(Rejected) as error:
            read({"conversations": [turns("Hi")[0], {"role": "assistant", "content": bad}]})
        assert str(error.value).startswith("not_text: turn 1: half of a surrogate pair")


@pytest.mark.parametrize(
    ("uid", "stored"),
    [
        *((7.0, "7"), ("x", "x"), (None, None), ([1], None), (1.5, "1.5"), (True, None)),
        (Decimal("12"), "12"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (b"x", "x"),
        (b"\xff\x01", "ff01"),
    ],
)
def test_no_row_is_lost_for_its_id(uid: Any, stored: str | None) -> None:
    draft = read({"id": uid, "conversations": turns("a", "b")})
    assert (draft.uid, draft.metadata) == (stored, "{}" if stored or uid is None else json.dumps({"id": uid}))


@pytest.mark.parametrize(
    ("begin", "part", "end"),
    [
        ("", " " * 100, "<image"),
        ("<im_start>", " " * 100, ""),
        ("", "<im_start>" + " " * 90, ""),
        ("", "<img>" * 20, ""),
        *(("<image", " " * 100, ""), ("", "<video " * 15, ""), ("<|vision_start|>", " " * 100, "")),
    ],
)
def test_a_long_row_takes_linear_time(begin: str, part: str, end: str) -> None:
    def work(text: str) -> None:
        assert read({"conversations": turns(text, "x")}).parts[1] == "x"

    assert_linear(work, lambda count: begin + part * count + end, 1000)


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
    found = filter_document(replace(draft, images=images), "k", "llava", DocumentFilters(), DecodeLimits()).document
    assert (found.parts, found.roles) == ((0, "and", 1, "?", "The same."), ("user",) * 4 + ("assistant",))
    assert from_members("k", dict(to_members(found))) == found
    with pytest.raises(Rejected) as error:
        filter_document(
            replace(draft, images=(images[0], draft.images[1])), "k", "llava", DocumentFilters(), DecodeLimits()
        )
    assert str(error.value) == "lost_image: image 1: b.jpg is in no store"
