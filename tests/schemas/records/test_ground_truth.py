"""Both kinds of truth are read as they are written, and what is wrong in one is told by its line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import UsageError
from schemas.records.ground_truth import (
    BoxTruth,
    PictureCollection,
    TextTruth,
    TrueBox,
    read_box_truth,
    read_text_truth,
    read_truth_index,
)

PICTURE = {"file": "a.jpg", "width": 200, "height": 100}
CAT = {"label": "cat", "bbox_xyxy": [1, 1, 100, 50]}


def data_of(*entries: dict[str, Any]) -> bytes:
    return "".join(json.dumps(entry) + "\n" for entry in entries).encode()


def box_truth(**values: Any) -> BoxTruth:
    return read_box_truth(data_of(PICTURE | values), "truth")[0]


def text_truth(**values: Any) -> TextTruth:
    return read_text_truth(data_of(PICTURE | {"complete": True, "items": []} | values), "truth")[0]


def test_boxes_are_normalised() -> None:
    assert box_truth(objects=[CAT]).boxes == [TrueBox("cat", (0.005, 0.01, 0.5, 0.5))]
    assert box_truth(objects=[CAT | {"difficult": True}], coords="pixels, VOC 1-based").boxes == [
        TrueBox("cat", (0.0, 0.0, 0.5, 0.5), difficult=True)
    ]


def test_a_picture_with_nothing_in_it_is_no_picture_without_boxes() -> None:
    assert box_truth(objects=[]).has_boxes
    assert not box_truth(image_labels=["cat"]).has_boxes
    assert not box_truth(objects=[], image_labels=["cat"]).has_boxes
    assert box_truth(objects=[CAT], image_labels=["cat"]).has_boxes


def test_keys_that_are_not_read_are_let_be() -> None:
    assert box_truth(objects=[CAT | {"truncated": True}], source="x", items=[]).exhaustive_for == []


def test_text() -> None:
    items = [
        {"text": "a", "bbox": [0, 0, 100, 100], "polygon": None},
        {"text": "###", "bbox": [0, 0, 1, 1], "ignore": True},
        {"text": "b"},  # without a place, as in ground truths of words
        {"text": "???", "ignore": True},
    ]
    truth = text_truth(items=items)
    assert (truth.texts, truth.legible_boxes, truth.illegible_boxes) == (
        ["a", "b"],
        [(0.0, 0.0, 0.5, 1.0)],
        [(0.0, 0.0, 0.005, 0.01)],
    )


@pytest.mark.parametrize(
    ("file", "kind", "name"),
    [
        ("ocr/mmocr__img_10.jpg", None, "scene"),
        ("ocr/mmocr__1.jpeg", None, "receipt"),
        ("ocr/mmocr__1036169.jpg", None, "word"),
        ("mine/books__7.png", None, "mine/books"),
        ("mine/books/7.png", None, "mine/books"),
        ("00000000.tar/7.jpg", "poster", "poster"),
        ("7.png", None, "."),
    ],
)
def test_collections(file: str, kind: str | None, name: str) -> None:
    assert text_truth(file=file, kind=kind).collection.name == name


def test_collections_with_ways_of_their_own() -> None:
    assert text_truth(file="ocr/ICDAR-2019-SROIE__019.jpg").collection.ignore_case
    assert not text_truth(file="ocr/mmocr__2.jpeg").collection.spaces
    assert text_truth(file="x__1").collection == PictureCollection("x", "x")


def test_an_index_may_name_a_file_several_times() -> None:
    data = data_of({"uid": "1", "file": "a"}, {"uid": "2", "file": None}, {"uid": "3", "file": "a", "scale": 0.5})
    assert read_truth_index(data, "index") == {"a": ["1", "3"]}


def test_blank_lines_and_a_missing_last_newline() -> None:
    data = b"\n" + data_of(PICTURE | {"objects": []}) + b"\r\n" + data_of(PICTURE | {"file": "b", "objects": []})[:-1]
    assert [entry.file for entry in read_box_truth(data, "truth")] == ["a.jpg", "b"]
    with pytest.raises(UsageError, match=r"^truth, line 4: line 2 already describes 'a\.jpg'$"):
        read_box_truth(data.replace(b'"b"', b'"a.jpg"'), "truth")


@pytest.mark.parametrize("read", [read_box_truth, read_text_truth])
@pytest.mark.parametrize("data", [b"", b"\n \r\n"])
def test_an_empty_file_is_no_truth(read: Callable[[bytes, str], object], data: bytes) -> None:
    with pytest.raises(UsageError, match=r"^truth is empty: a ground truth has one line for each picture$"):
        read(data, "truth")


GOOD = PICTURE | {"objects": [CAT]}
TEXT = PICTURE | {"complete": True, "items": [{"text": "a"}]}
WRONG: list[tuple[Callable[[bytes, str], object], dict[str, Any], str]] = [
    (read_box_truth, PICTURE, "has neither objects nor image_labels: is this a ground truth of boxes?"),
    (read_box_truth, GOOD | {"width": 0}, "width: Input should be greater than 0"),
    (read_box_truth, GOOD | {"width": 10**400}, "width: Input should be less than or equal to 1000000"),
    (read_text_truth, TEXT | {"height": 1_000_001}, "height: Input should be less than or equal to 1000000"),
    (
        read_box_truth,
        GOOD | {"objects": [CAT | {"bbox_xyxy": [0, 0, 10**400, 1]}]},
        "objects.0.bbox_xyxy.2: Input should be a finite number",
    ),
    (read_box_truth, GOOD | {"height": "9"}, "height: Input should be a valid integer"),
    (read_box_truth, GOOD | {"objects": [CAT, {"label": "x"}]}, "objects.1.bbox_xyxy: Field required"),
    (
        read_box_truth,
        GOOD | {"objects": [CAT | {"bbox_xyxy": [9, 1, 9, 2]}]},
        "objects.0.bbox_xyxy: not x1, y1, x2, y2 with x1 < x2 and y1 < y2",
    ),
    (
        read_box_truth,
        GOOD | {"objects": [CAT | {"bbox_xyxy": [0, 0, float("inf"), 1]}]},
        "objects.0.bbox_xyxy.2: Input should be a finite number",
    ),
    (read_box_truth, GOOD | {"exhaustive_for": "cat"}, "exhaustive_for: Input should be a valid array"),
    (read_text_truth, GOOD, "items: Field required"),
    (read_text_truth, TEXT | {"items": [{"text": None}]}, "items.0.text is null"),
    (read_text_truth, TEXT | {"boxes_only": True}, "items.0.bbox is null"),
    (read_truth_index, {"uid": 7, "file": "a"}, "uid: Input should be a valid string"),
]


@pytest.mark.parametrize(("read", "entry", "fault"), WRONG)
def test_what_is_wrong_is_told_by_its_line(
    read: Callable[[bytes, str], object], entry: dict[str, Any], fault: str
) -> None:
    good = {read_box_truth: GOOD, read_text_truth: TEXT, read_truth_index: {"uid": "1", "file": "a"}}[read]
    with pytest.raises(UsageError) as error:
        read(data_of(good | {"file": "good"}, entry), "folder/truth.jsonl")
    assert str(error.value) == f"folder/truth.jsonl, line 2: {fault}"


@pytest.mark.parametrize("line", [b"{", b"[]", b'"a\nb"', b"\xff", b"null"])
def test_what_is_no_entry_at_all(line: bytes) -> None:
    with pytest.raises(UsageError, match=r"^truth, line 1: [^\n]+$"):
        read_box_truth(line, "truth")


def test_the_sample_data(data: Path) -> None:
    boxes, texts = data / "ground_truth/det.jsonl", data / "ground_truth/ocr.jsonl"
    found = read_box_truth(boxes.read_bytes(), "det")
    assert (len(found), sum(len(entry.boxes) for entry in found)) == (80, 315)
    assert all(0 <= part <= 1 for entry in found for thing in entry.boxes for part in thing.box)
    read = read_text_truth(texts.read_bytes(), "ocr")
    names = {entry.collection.name for entry in read}
    assert (len(read), names) == (80, {"receipt", "scene", "scripts", "sroie", "uw3", "word"})
    ties = read_truth_index((data / "datacomp_small/ground_truth_index.jsonl").read_bytes(), "index")
    assert (len(ties), sum(map(len, ties.values()))) == (165, 165)
