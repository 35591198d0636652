"""Sets whose questions and answers are in two files."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ShardloomError
from schemas.records.document_storage import from_row
from tests.conftest import jpeg
from tests.pipelines.support.published import take_in
from tests.pipelines.support.sets import rows

QUESTIONS = "v2_OpenEnded_mscoco_train2014_questions.json"
ANNOTATIONS = "v2_mscoco_train2014_annotations.json"
COUNT = 7


def write(folder: Path, name: str = QUESTIONS) -> Path:
    """Seven questions, and their annotations in another order; the fourth question has none."""
    questions = [{"question_id": n, "image_id": n, "question": f"What is {n}?"} for n in range(COUNT)]
    order = [n for n in reversed(range(COUNT)) if n != 3]
    annotations: list[dict[str, Any]] = [{"question_id": n, "answers": [{"answer": f"thing {n}"}]} for n in order]
    (folder / name).write_text(json.dumps({"questions": questions}))
    (folder / ANNOTATIONS).write_text(json.dumps({"annotations": annotations}))
    for number in range(COUNT):
        (folder / f"COCO_train2014_{number:012d}.jpg").write_bytes(jpeg(number))
    return folder / name


@pytest.mark.parametrize("samples", [2, 100])
def test_every_question_has_its_own_answer(samples: int, tmp_path: Path) -> None:
    """However the questions are cut into units."""
    path = write(tmp_path)
    options: dict[str, Any] = {"format": "parquet", "samples_per_shard": samples}
    done = take_in("vqav2", str(path), tmp_path / "out", str(tmp_path), **options)
    assert (done.rows_in, done.rows_out) == (COUNT, COUNT - 1)
    found = [from_row(row) for row in rows(tmp_path / "out")]
    assert [(document.uid, document.parts[-1]) for document in found] == [
        (str(n), f"thing {n}") for n in range(COUNT) if n != 3
    ]
    assert [(row["key"], row["reason"]) for row in rows(tmp_path / "out", "quarantine")] == [("3", "malformed_row")]


def test_wrong_files_are_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, "v2_OpenEnded_mscoco_val2014_questions.json")
    message = "the questions for training are in *OpenEnded_mscoco_train2014_questions.json alone"
    with pytest.raises(ShardloomError) as found:
        take_in("vqav2", str(path), tmp_path / "out", str(tmp_path))
    assert str(found.value) == f"{path}: {message}"
    path = write(tmp_path)
    (tmp_path / ANNOTATIONS).write_text("[]")
    with pytest.raises(ShardloomError) as found:
        take_in("vqav2", str(path), tmp_path / "out", str(tmp_path))
    assert str(found.value) == f"{path}: {ANNOTATIONS}: it does not begin as a JSON object does"
    (tmp_path / ANNOTATIONS).unlink()
    with pytest.raises(ShardloomError, match=rf"^cannot read \S+{ANNOTATIONS}: No such file or directory$"):
        take_in("vqav2", str(path), tmp_path / "out", str(tmp_path))
