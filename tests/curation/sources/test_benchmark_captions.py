"""COCO's and TextCaps' captions, of which the training splits are taken in."""

import io
import json
from typing import Any

import pytest

from curation.sources import SOURCES, ReadOptions
from schemas.errors import UsageError
from schemas.records.document import ParsedCaptionedImage
from schemas.records.quarantine import Rejected

COCO = {
    "filepath": "train2014",
    "sentids": [787980, 789366],
    "filename": "COCO_train2014_000000057870.jpg",
    "imgid": 40504,
    "split": "train",
    "sentences": [
        {"tokens": ["a", "restaurant"], "raw": "A restaurant has wooden tables. ", "imgid": 40504, "sentid": 787980},
        {"tokens": ["long", "tables"], "raw": "Long tables.", "imgid": 40504, "sentid": 789366},
    ],
    "cocoid": 57870,
}
TEXTCAPS = {
    "question": "",
    "image_id": "0054c91397f2fe05",
    "image_classes": ["Sign"],
    "flickr_300k_url": "https://c8.staticflickr.com/6/1_z.jpg",
    "image_width": 1024,
    "image_height": 683,
    "set_name": "train",
    "caption_id": 1,
    "caption_str": "A sign says Exit.",
    "caption_tokens": ["a", "sign"],
    "reference_strs": ["A sign says Exit.", "An exit sign."],
    "reference_tokens": [["a"], ["an"]],
}


def read(name: str, item: Any) -> ParsedCaptionedImage:
    parsed = SOURCES.find(name).read(item, ReadOptions())
    assert isinstance(parsed, ParsedCaptionedImage)
    return parsed


def test_coco() -> None:
    parsed = read("coco", COCO)
    assert (parsed.uid, parsed.url, parsed.text) == ("57870", None, "A restaurant has wooden tables.")
    assert parsed.image.source == "train2014/COCO_train2014_000000057870.jpg"
    assert json.loads(parsed.metadata) == {
        "captions": ["A restaurant has wooden tables.", "Long tables."],
        "split": "train",
    }
    assert read("coco", COCO | {"split": "restval", "filepath": None}).image.source == COCO["filename"]


def test_textcaps() -> None:
    parsed = read("textcaps", TEXTCAPS)
    assert (parsed.uid, parsed.text, parsed.image.source) == ("1", "A sign says Exit.", "0054c91397f2fe05.jpg")
    assert json.loads(parsed.metadata).keys() == {
        *("image_id", "image_classes", "flickr_300k_url", "image_width", "image_height", "set_name"),
    }


@pytest.mark.parametrize(
    ("name", "row", "fault"),
    [
        ("coco", COCO | {"split": "test"}, "other_split: split is 'test'; train and restval are for training"),
        ("coco", COCO | {"sentences": None}, "no_caption: there is no sentence"),
        ("coco", COCO | {"sentences": [{"raw": " "}]}, "no_caption: the caption is empty"),
        ("coco", COCO | {"sentences": "A cat."}, "malformed_row: sentences is a str, not a list"),
        ("coco", COCO | {"filename": ""}, "missing_image: there is no filename"),
        ("coco", COCO | {"filename": None}, "malformed_row: filepath or filename is not a text"),
        ("textcaps", TEXTCAPS | {"image_id": None}, "missing_image: there is no image_id"),
        ("textcaps", TEXTCAPS | {"caption_str": ""}, "no_caption: the caption is empty"),
        ("textcaps", TEXTCAPS | {"caption_str": ["A."]}, "not_text: the caption: a list, not a text"),
        *((name, item, "malformed_row: a int, not an object") for name, item in (("coco", 7), ("textcaps", 7))),
    ],
)
def test_odd_rows(name: str, row: Any, fault: str) -> None:
    with pytest.raises(Rejected) as found:
        read(name, row)
    assert str(found.value) == fault


@pytest.mark.parametrize(("name", "member"), [("coco", "images"), ("textcaps", "data")])
def test_items_begin_where_their_offsets_say(name: str, member: str) -> None:
    source = SOURCES.find(name)
    file = io.BytesIO(json.dumps({"dataset": "x", member: [1, {"a": 2}, 3], "more": 4}).encode())
    assert source.items is not None
    assert source.offsets is not None
    places = list(source.offsets(file))
    assert [list(source.items(file, place, number)) for number, place in enumerate(places)] == [
        [1, {"a": 2}, 3],
        [{"a": 2}, 3],
        [3],
    ]
    with pytest.raises(UsageError, match=f"its JSON object has no member '{member}'"):
        list(source.items(io.BytesIO(b"{}")))
