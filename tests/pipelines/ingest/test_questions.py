"""Sets of questions: every row becomes a conversation or is quarantined, however a file is cut into units."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from curation.sources import SOURCES
from curation.sources.formats.question_answer import SHORT_ANSWER
from pipelines.inputs.source_files import cut_file
from schemas.records.document_storage import from_row
from tests.pipelines.support.published import take_in
from tests.pipelines.support.questions import OTHERS, ROWS, file_of, make_rows, write_set
from tests.pipelines.support.sets import rows

ENDINGS = {"ai2d": "jsonl", "open-orca": "parquet", "orca-math": "parquet"}


@pytest.mark.parametrize("source", [*ROWS, *OTHERS])
def test_every_set_is_taken_in_whole(source: str, tmp_path: Path) -> None:
    path = tmp_path / f"in.{ENDINGS.get(source, 'json')}"
    write_set(source, path, tmp_path / "images", 7)
    images = str(tmp_path / "images") if source not in ("open-orca", "orca-math") else None
    done = take_in(source, str(path), tmp_path / "out", images, format="parquet", samples_per_shard=3)
    assert (done.rows_in, done.rows_out) == (7, 7)
    found = [from_row(row) for row in rows(tmp_path / "out")]
    asked = [
        part for document in found for part in document.parts if isinstance(part, str) and re.search(r"\(\d\)", part)
    ]
    if source not in ("ocr-vqa", "ai2d", "sharegpt4v"):
        assert [f"({number})" in text for number, text in enumerate(asked)] == [True] * 7
    assert {document.source for document in found} == {source}
    assert {len(document.images) for document in found} == {2 if source == "ai2d" else int(images is not None)}


@pytest.mark.parametrize("source", ["gqa", "textvqa", "dvqa", "clevr", "science-qa"])
@pytest.mark.parametrize("samples", [1, 3, 7, 8])
def test_any_cut_holds_all_rows(source: str, samples: int, tmp_path: Path) -> None:
    """Each unit starts to read at its own first row."""
    path = tmp_path / "in.json"
    path.write_text(json.dumps(file_of(source, *make_rows(source, 7)), indent=1))
    reader = SOURCES.find(source)
    assert reader.items is not None
    with path.open("rb") as file:
        whole = list(reader.items(file))
    for unit in cut_file(reader, samples, str(path)):
        with path.open("rb") as file:
            assert list(reader.items(file, unit.item_offset, unit.start)) == whole[unit.start :]
        assert (unit.item_offset > 0) == (unit.start > 0)


def test_odd_rows_are_quarantined_with_a_reason(tmp_path: Path) -> None:
    write_set("dvqa", tmp_path / "in.json", tmp_path / "images", 8)
    changes: dict[int, dict[str, Any]] = {
        1: {"image": "gone.png"},
        2: {"answer": None},
        4: {"bbox_answer": [1, 2, "x", 4]},
        5: {"question": "Wer ist “größer”? ☃"},
        6: {"image": "broken.png"},
    }
    content = json.loads((tmp_path / "in.json").read_text())
    content = [row | changes.get(number, {}) for number, row in enumerate(content)]
    (tmp_path / "in.json").write_text(json.dumps(content, ensure_ascii=False))
    (tmp_path / "images/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    done = take_in(
        "dvqa",
        str(tmp_path / "in.json"),
        tmp_path / "out",
        str(tmp_path / "images"),
        samples_per_shard=3,
        format="parquet",
    )
    assert (done.rows_in, done.rows_out) == (8, 4)
    assert [(row["key"], row["reason"]) for row in rows(tmp_path / "out", "quarantine")] == [
        ("1", "lost_image"),
        ("2", "malformed_row"),
        ("4", "malformed_row"),
        ("6", "decode_error"),
    ]
    found = [from_row(row).parts[1] for row in rows(tmp_path / "out")]
    assert found[2] == f"Wer ist “größer”? ☃\n{SHORT_ANSWER}"


def test_rows_to_evaluate_with_are_quarantined(tmp_path: Path) -> None:
    write_set("science-qa", tmp_path / "in.json", tmp_path / "images", 4)
    content = json.loads((tmp_path / "in.json").read_text())
    content["2"]["split"], content["3"]["split"] = "val", "test"
    (tmp_path / "in.json").write_text(json.dumps(content))
    done = take_in("science-qa", str(tmp_path / "in.json"), tmp_path / "out", str(tmp_path / "images"))
    assert (done.rows_in, done.rows_out) == (4, 2)
    assert {row["reason"] for row in rows(tmp_path / "out", "quarantine")} == {"other_split"}
