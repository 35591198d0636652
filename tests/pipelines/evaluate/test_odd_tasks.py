"""`evaluate model` on odd rows of all three kinds of files: each is scored or quarantined, and none ends the run."""

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.output_set.recipe_file import dump_yaml
from tests.conftest import jpeg
from tests.pipelines.evaluate.conftest import Run
from tests.training.support import tiny
from training.model.config import PromptOptions
from training.model.lmm import ResamplerLMM
from training.model.pretrained import save_pretrained
from training.model.tokens import load_tokenizer

PICTURE = jpeg(1)
BASE64 = base64.b64encode(PICTURE).decode()
BROKEN = base64.b64encode(PICTURE[:100] + bytes(100)).decode()
NO_IMAGE = base64.b64encode(b"this is a text of more than forty-eight bytes in base64").decode()
LIMIT = {"max_new_tokens": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt nothing, a picture, and a task of each kind of file."""
    place = tmp_path_factory.mktemp("odd")
    options = tiny.options(tiny.write_tokenizer(place / "tokenizer"))
    save_pretrained(ResamplerLMM.build(options), load_tokenizer(options), place / "model", prompts=PromptOptions())
    (place / "set").mkdir()
    (place / "set" / "1.jpg").write_bytes(PICTURE)
    (place / "secret.jpg").write_bytes(PICTURE)
    write_lines(place)
    write_table(place)
    write_parquet(place)
    return place


def write_task(folder: Path, name: str, questions: dict[str, Any], metric: str) -> None:
    (folder / f"{name}.yaml").write_bytes(dump_yaml({"questions": questions, "metric": metric} | LIMIT))


def write_lines(folder: Path) -> None:
    """With a byte order mark and line ends of Windows."""
    images: list[Any] = [
        *("1.jpg", "./1.jpg", BASE64, f"data:image/jpeg;base64,{BASE64}", ["1.jpg", {"path": "1.jpg"}], None),
        *("../secret.jpg", str(folder / "secret.jpg"), "http://127.0.0.1/1.jpg", "1\0.jpg", "9" * 300, 7, BROKEN),
    ]
    rows: list[dict[str, Any]] = [
        {"id": f"i{number}", "question": "Q?", "answer": "a", "image": image} for number, image in enumerate(images)
    ]
    answers: list[Any] = [3, 2.5, ["a", 3], {"answer": "a"}, None, "", " ", [], {}, True, [["a"]], float("nan")]
    rows += [{"id": f"a{number}", "question": "Q?", "answer": answer} for number, answer in enumerate(answers)]
    rows += [{"id": "i0", "question": "Q?", "answer": "a"}, {"question": ["Q"], "answer": "a"}]
    lines = [json.dumps(row) for row in rows] + ["", "{", "[1]"]
    (folder / "set" / "lines.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    write_task(folder, "lines", {"path": "set/lines.jsonl"}, "exact_match")


def write_table(folder: Path) -> None:
    good = {"index": "1", "hint": "", "question": "图中是什么？", "A": "猫", "B": "狗", "C": "", "D": "", "answer": "B"}
    good |= {"category": "cn", "image": BASE64}
    changes: list[dict[str, str]] = [
        {},
        {"index": "1000001", "image": "1", "A": "狗", "B": "猫", "answer": "A"},
        {"index": "1000002", "image": "2"},  # of a later row
        {"index": "2"},
        {"index": "3", "image": "99"},
        {"index": "4", "image": BROKEN},
        {"index": "5", "image": NO_IMAGE},
        {"index": "6", "image": "?" * 80},
        {"index": "7", "image": ""},
        {"index": "8", "answer": "D"},
        {"index": "9", "answer": ""},
        {"index": "10", "B": "", "C": "狗", "answer": "C"},
        {"index": "11", "B": "", "answer": "A"},
        {"index": "12", "question": ""},
        {"index": "2"},
        {"index": "13", "image": "gone.jpg"},
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, good, delimiter="\t", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows([good | change for change in changes])
    (folder / "set" / "table.tsv").write_text(f"\ufeff{text.getvalue()}\r\nshort\trow\r\n", newline="")
    write_task(folder, "table", {"path": "set/table.tsv", "layout": "mmbench"}, "circular_choice")


def write_parquet(folder: Path) -> None:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images: list[dict[str, Any] | None] = [
        *({"bytes": PICTURE, "path": "x"}, {"bytes": None, "path": "1.jpg"}, {"bytes": b"no image", "path": "1.jpg"}),
        *({"bytes": b"", "path": "/etc/passwd"}, {"bytes": None, "path": "https://10.0.0.1/1.jpg"}),
        *({"bytes": None, "path": None}, None),
    ]
    rows = [
        {"questionId": number, "question": "When?", "answers": ["1993", ""], "image": one}
        for number, one in enumerate(images)
    ]
    rows += [rows[0] | {"questionId": 20 + n, "answers": answers} for n, answers in enumerate([[], None, [None]])]
    schema = pa.schema(
        [
            ("questionId", pa.float64()),  # as pandas writes a column with gaps
            ("question", pa.string()),
            ("answers", pa.list_(pa.string())),
            ("image", image),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "set" / "rows.parquet")
    write_task(folder, "parquet", {"path": "set/rows.parquet", "layout": "docvqa"}, "anls")


def test_every_row_is_accounted_for(run: Run, tmp_path: Path) -> None:
    tasks = [word for name in ("lines", "table", "parquet") for word in ("-t", f"{name}.yaml")]
    code, found, err = run("model", *tasks, "-o", str(tmp_path / "out"), "--device", "cpu", "--json")
    assert code == 0
    assert "Traceback" not in err
    lines, table, parquet = found["tasks"]
    assert (lines["questions"], lines["quarantined"]) == (
        6 + 4,
        {"decode_error": 1, "duplicate_key": 1, "lost_image": 4, "malformed_row": 12, "not_an_image": 1},
    )
    assert lines["questions"] + sum(lines["quarantined"].values()) == 13 + 12 + 2 + 2
    assert (table["questions"], table["quarantined"]) == (
        4,
        {
            "decode_error": 2,
            "duplicate_key": 1,
            "lost_image": 1,
            "malformed_row": 6,
            "missing_image": 2,
            "not_an_image": 1,
        },
    )
    assert table["questions"] + sum(table["quarantined"].values()) == 16 + 1
    assert (parquet["questions"], parquet["quarantined"]) == (
        2,
        {"lost_image": 2, "malformed_row": 3, "missing_image": 2, "not_an_image": 1},
    )
    rows = pq.read_table(tmp_path / "out" / "predictions" / "parquet-0shot.parquet").to_pylist()
    assert [(row["id"], row["answers"]) for row in rows] == [("0", ["1993"]), ("1", ["1993"])]
    rows = pq.read_table(tmp_path / "out" / "quarantine" / "lines-0shot.parquet").to_pylist()
    assert all(row["detail"] and len(row["detail"]) < 1000 for row in rows)
    code, out, _ = run("--from-rows", str(tmp_path / "out"))
    assert code == 0
    words = " ".join(out.split())
    assert "lines-0shot: 1 rows quarantined as decode_error, 1 rows quarantined as duplicate_key, 4 rows" in words


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("q.jsonl", b"", "q.jsonl: none of its 0 rows is a question"),
        ("q.tsv", b"index\tquestion\n", "q.tsv: none of its 0 rows is a question"),
        ("q.tsv", b'index\tquestion\n1\t"Q\n', "q.tsv can't be read: line 2: unexpected end of data"),
        ("q.tsv", b"id\tid\n", "q.tsv can't be read: two of its columns have the name 'id'"),
        ("q.parquet", b"PAR1 no", "q.parquet can't be read: "),
        ("q.json", b"[]", "q.json: questions are read from .jsonl, .tsv, .parquet, .tar files; others need"),
        ("q.tar", b"no tar", "q.tar: none of its 0 rows is a question"),
    ],
)
def test_files_without_a_question_are_one_line(run: Run, tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    task = {"questions": {"path": name}, "metric": "exact_match"}
    (tmp_path / "task.yaml").write_bytes(dump_yaml(task))
    code, out, err = run("model", "-t", str(tmp_path / "task.yaml"), "-o", str(tmp_path / "out"))
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
