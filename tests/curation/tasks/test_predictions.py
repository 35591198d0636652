"""Predictions are read as they were written."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.leaks.leak import Leak
from curation.scores.answers.metric import AnsweredQuestion
from curation.tasks.predictions import Prediction, Predictions, encode_predictions, read_predictions
from schemas.errors import UsageError
from schemas.storage.folder import Folder

ROW = Prediction(
    *("1", "What?", ("cat", "dog"), (), "g", "c", ("7", "8"), " a cat.", "a cat", True, 30, 4, (0.5, 1.25), ""),
)
FOUND = Predictions("pets", 4, "exact_match", {"model": "m", "options": {"seed": 1}}, [ROW], {"lost_image": 2})


def test_round_trip(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write("p.parquet", encode_predictions(FOUND))
    assert read_predictions(folder, "p.parquet") == FOUND
    assert encode_predictions(FOUND) == encode_predictions(read_predictions(folder, "p.parquet"))
    assert FOUND.name == "pets-4shot"
    assert ROW.to_answered() == AnsweredQuestion("1", ("cat", "dog"), "a cat", (), "g", "c")


def test_verdicts_and_leaks(tmp_path: Path) -> None:
    leaks = (Leak("sets/a", "data/0.tar/7", 3, None), Leak("sets/a", "data/0.tar/8", None, 0.75))
    rows = [
        replace(ROW, judge="gpt", verdict="0.5, nearly", verdict_score=0.5, leaks=leaks),
        replace(ROW, id="2", judge="gpt", judge_error="HTTP 400: no"),
    ]
    folder, found = Folder(str(tmp_path)), replace(FOUND, rows=rows)
    folder.write("p.parquet", encode_predictions(found))
    assert read_predictions(folder, "p.parquet") == found
    assert [row.to_answered().verdict_score for row in rows] == [0.5, None]


def test_files_of_before_there_were_judges(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write("p.parquet", encode_predictions(FOUND))
    table = pq.read_table(tmp_path / "p.parquet")
    older = table.drop_columns(["judge", "verdict", "verdict_score", "judge_error", "leaks"])
    pq.write_table(older, tmp_path / "older.parquet")
    assert read_predictions(folder, "older.parquet") == FOUND
    pq.write_table(older.drop_columns(["error"]), tmp_path / "none.parquet")
    with pytest.raises(UsageError, match=r"none\.parquet holds no predictions of `evaluate model`$"):
        read_predictions(folder, "none.parquet")


def test_other_files(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    pq.write_table(pa.table({"id": ["1"]}), tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("no")
    for name in ("other.parquet", "text.parquet"):
        with pytest.raises(UsageError, match=rf"{name} holds no predictions of `evaluate model`$"):
            read_predictions(folder, name)
    folder.write("p.parquet", encode_predictions(replace(FOUND, metric="later")))
    with pytest.raises(UsageError, match=r"p\.parquet is scored by later, which this version does not know$"):
        read_predictions(folder, "p.parquet")


def test_leaks_of_an_older_version(tmp_path: Path) -> None:
    """They do not say whether a text is short."""
    leaks = (Leak("set", "key", None, 1.0, True),)
    folder = Folder(str(tmp_path))
    folder.write("p.parquet", encode_predictions(replace(FOUND, rows=[replace(ROW, leaks=leaks)])))
    table = pq.read_table(tmp_path / "p.parquet")
    (name,) = [name for name in table.schema.names if name == "leaks"]
    older = [
        [{key: value for key, value in leak.items() if key != "is_short"} for leak in row]
        for row in table[name].to_pylist()
    ]
    place = table.schema.get_field_index(name)
    pq.write_table(table.set_column(place, name, pa.array(older)), tmp_path / "older.parquet")
    (row,) = read_predictions(folder, "older.parquet").rows
    assert row.leaks == (Leak("set", "key", None, 1.0),)
    assert read_predictions(folder, "p.parquet").rows[0].leaks == leaks


def test_a_question_that_was_not_taken_is_not_answered() -> None:
    assert ROW.to_answered().is_answered
    assert not replace(ROW, prediction="", error="too long").to_answered().is_answered
