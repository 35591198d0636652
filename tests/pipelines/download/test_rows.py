"""Rows of metadata are asked for as they are, or not at all: nothing in them is trusted."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.download.rows import MAX_BOXES, MAX_TEXT, MetadataRow, has_boxes, parse_row, write_urls
from pipelines.inputs.source_files import Item
from pipelines.recipes.download import DownloadRecipe
from schemas.records.quarantine import Reason, Rejected

URL = "https://a.example/1.jpg"


def test_rows_are_taken_as_they_are() -> None:
    content = {"uid": "ab", "url": URL, "text": "a <b> \x1b[31m", "face_bboxes": [[0, 0.5, 1.02, 1]], "sha256": "AB"}
    assert parse_row("7", Item("0", content)) == MetadataRow(
        "7", "ab", URL, "a <b> \x1b[31m", [[0.0, 0.5, 1.02, 1.0]], "ab"
    )
    bare = parse_row("8", Item("1", {"url": URL, "caption": None}))
    assert bare == MetadataRow("8", None, URL, None, None, "")
    assert parse_row("9", Item("2", {"url": URL, "text": "of DataComp", "caption": "another"})).caption == "of DataComp"
    assert parse_row("9", Item("2", {"url": URL, "face_bboxes": None})).face_bboxes == []


@pytest.mark.parametrize(("uid", "text"), [(5, "5"), (5.0, "5"), (["a"], None), (float("nan"), None)])
def test_no_row_goes_for_its_uid(uid: Any, text: str | None) -> None:
    row = parse_row("7", Item("0", {"url": URL, "uid": uid}))
    assert (row.uid, row.fault) == (text, None)


def test_a_caption_that_is_a_number_is_its_digits_and_a_list_is_none() -> None:
    assert parse_row("7", Item("0", {"url": URL, "text": 1984})).caption == "1984"
    assert parse_row("7", Item("0", {"url": URL, "text": ["a"]})).fault == ("not_text", "a list, not a text")


@pytest.mark.parametrize("url", [None, "", "ftp://a/1.jpg", "file:///etc/passwd", "a.jpg", "javascript:alert(1)"])
def test_what_is_no_web_address_is_not_asked_for(url: str | None) -> None:
    row = parse_row("7", Item("0", {"url": url, "uid": "ab"}))
    assert (row.fault, row.uid) == (("not_http", "no http or https address"), "ab")


@pytest.mark.parametrize(
    "content",
    [
        {"url": b"https://a.example"},
        {"url": {"a": 1}},
        {"url": URL, "text": "x" * (MAX_TEXT + 1)},
        {"url": URL + "é" * MAX_TEXT},
        {"url": URL, "sha256": b"ab"},
        {"url": URL, "face_bboxes": "everywhere"},
        {"url": URL, "face_bboxes": [[0, 0, 1]]},
        {"url": URL, "face_bboxes": [None]},
        {"url": URL, "face_bboxes": [[0, 0, 1, None]]},
        {"url": URL, "face_bboxes": [[0, 0, 1, float("nan")]]},
        {"url": URL, "face_bboxes": [[0, 0, 1, 1e300]]},
        {"url": URL, "face_bboxes": [[0.5, 0, 0.4, 1]]},
        {"url": URL, "face_bboxes": [[0, 0, 200, 300]]},
        {"url": URL, "face_bboxes": [[0, 0, 1, 1]] * (MAX_BOXES + 1)},
        {"url": URL, "face_bboxes": 7},
    ],
)
def test_rows_that_make_no_sense_are_not_asked_for(content: dict[str, Any]) -> None:
    """Nor are those whose faces can't be found: they would stay as they are."""
    row = parse_row("7", Item("0", content))
    assert row.fault is not None
    assert row.fault[0] == "malformed_row"
    assert len(row.fault[1]) < 200


def test_rows_that_could_not_be_read_keep_their_reason() -> None:
    row = parse_row("7", Item("0", Rejected(Reason.MALFORMED_ROW, "not UTF-8")))
    assert row == MetadataRow("7", fault=("malformed_row", "not UTF-8"))


def test_the_list_says_what_is_to_be_done(tmp_path: Path) -> None:
    recipe = DownloadRecipe(input=["x"])
    plain = [parse_row(str(number), Item("0", {"url": URL, "sha256": "AB"})) for number in range(2)]
    assert not has_boxes(plain)
    assert write_urls(tmp_path, plain, recipe) == {"caption_col": "caption", "save_additional_columns": ["uid"]}
    assert pl.read_parquet(tmp_path / "urls.parquet").columns == ["uid", "caption", "url"]
    boxed = [parse_row("7", Item("0", {"url": URL, "sha256": "AB", "face_bboxes": []}))]
    assert write_urls(tmp_path, boxed, recipe.model_copy(update={"verify_hash": True})) == {
        "caption_col": "caption",
        "save_additional_columns": ["uid"],
        "bbox_col": "face_bboxes",
        "verify_hash": ["sha256", "sha256"],
    }
    assert pl.read_parquet(tmp_path / "urls.parquet").rows(named=True) == [
        {"uid": None, "caption": None, "url": URL, "face_bboxes": [], "sha256": "ab"}
    ]
