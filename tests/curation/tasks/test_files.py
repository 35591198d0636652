"""Question files of each ending, odd rows included, and the images that rows name."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.scores.answers.registry import METRICS
from curation.tasks.files import QuestionSet, find_questions, read_question_set
from curation.tasks.images import QuestionImages
from curation.tasks.layouts.layout import FILE
from curation.tasks.options import QuestionSetOptions
from curation.tasks.question import ImageFile
from schemas.errors import UsageError
from schemas.records.quarantine import Reason, Rejected


def options(path: Path | str, **more: Any) -> QuestionSetOptions:
    return QuestionSetOptions.model_validate({"path": str(path)} | more)


def read(path: Path | str, metric: str = "exact_match", **more: Any) -> QuestionSet:
    return read_question_set(options(path, **more), METRICS[metric])


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_lines_of_json(tmp_path: Path) -> None:
    rows = [{"id": "a", "question": "Q", "answer": "x"}, {"id": "a", "answer": "y"}, {"id": "b"}]
    lines = [*map(json.dumps, rows), "", "[1]", "{", json.dumps({"id": "c", "answer": "z"})]
    (tmp_path / "q.jsonl").write_text("\n".join(lines))
    found = read(tmp_path / "q.jsonl")
    assert [(one.id, one.text, one.answers) for one in found.questions] == [("a", "Q", ("x",)), ("c", "", ("z",))]
    assert [(row.key, row.reason) for row in found.quarantined] == [
        (f"{tmp_path}/q.jsonl#1", "duplicate_key"),
        (f"{tmp_path}/q.jsonl#2", "malformed_row"),
        (f"{tmp_path}/q.jsonl#3", "malformed_row"),
        (f"{tmp_path}/q.jsonl#4", "malformed_row"),
    ]
    assert found.quarantined[2].detail == "the line is not a JSON object"


def test_odd_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    rows = [{"id": "1", "answer": "\u2028 é"}, {"id": "2", "answer": "y", FILE: 3}]
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    (tmp_path / "q.jsonl").write_bytes(
        b"\xef\xbb\xbf" + b"\r\n".join([*lines, b" ", b'{"id": "3", "answer": "\xff"}', b""])
    )
    found = read(tmp_path / "q.jsonl")
    assert [(one.id, one.answers) for one in found.questions] == [("1", ("\u2028 é",)), ("2", ("y",))]
    assert [row.key for row in found.quarantined] == [f"{tmp_path}/q.jsonl#2"]


def test_a_path_comes_from_no_row(tmp_path: Path) -> None:
    row = {"id": 1, "text": "Is it?", "label": "yes", "image": "1.jpg", FILE: 3}
    (tmp_path / "coco_pope_random.json").write_text(json.dumps(row) + "\n")
    (found,) = read(tmp_path / "coco_pope_random.json", "pope", layout="pope").questions
    assert (found.id, found.category) == ("random/1", "random")


def test_annotations_that_differ(tmp_path: Path) -> None:
    """One of a question twice is one; two that differ are none, and cost no other question."""
    questions = [{"question_id": number, "image_id": number, "question": "Q"} for number in range(4)]
    answers = [(0, "a"), (1, "a"), (1, "a"), (2, "a"), (2, "b"), (2, "a")]
    annotations = [{"question_id": number, "answers": [{"answer": answer}] * 4} for number, answer in answers]
    (tmp_path / "q.json").write_text(json.dumps({"questions": questions}))
    (tmp_path / "a.json").write_text(json.dumps({"annotations": annotations}))
    found = read(tmp_path / "q.json", "vqa_accuracy", layout="vqav2", annotations=str(tmp_path / "a.json"))
    assert [one.id for one in found.questions] == ["0", "1"]
    assert [row.detail for row in found.quarantined] == [
        "question 2 has two annotations that differ",
        "question 3 has no annotation",
    ]


def test_some_questions_alone(tmp_path: Path) -> None:
    rows = [{"id": name, "question": "?", "answers": [answer]} for name, answer in zip("abca", "1234", strict=True)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = find_questions(options(tmp_path / "q.jsonl"), METRICS["exact_match"], {"a", "c", "x"})
    assert {name: question.answers for name, question in found.items()} == {"a": ("1",), "c": ("3",)}
    assert find_questions(options(tmp_path / "q.jsonl"), METRICS["exact_match"], set()) == {}


def test_parquet_as_harnesses_publish_it(tmp_path: Path) -> None:
    """With Hugging Face's struct of an image, in two files; a text that is not UTF-8 costs its row alone."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"question_id": str(n), "image": {"bytes": b"jpeg%d" % n, "path": "x"}, "answer": "yes"} for n in range(3)]
    schema = pa.schema([("question_id", pa.string()), ("image", image), ("answer", pa.string())])
    table = pa.Table.from_pylist(rows, schema)
    pq.write_table(table.slice(0, 2), tmp_path / "test-0.parquet")
    broken = pa.array([b"\xff"]).view(pa.string())
    pq.write_table(
        pa.concat_tables([table.slice(2), table.slice(2).set_column(2, "answer", broken)]), tmp_path / "test-1.parquet"
    )
    found = read(tmp_path / "test-*.parquet")
    assert [(one.id, one.images) for one in found.questions] == [(str(n), (b"jpeg%d" % n,)) for n in range(3)]
    assert [(row.key, row.reason) for row in found.quarantined] == [(f"{tmp_path}/test-1.parquet#3", "malformed_row")]


def test_tar_of_captioned_images(tmp_path: Path) -> None:
    members = {"a.jpg": b"1", "a.txt": b"A cat.", "b.txt": b"none", "c.png": b"3", "d.jpg": b"4", "d.txt": b"\xff"}
    found = read(pack(tmp_path / "0.tar", members), "cider")
    assert [(one.id, one.text, one.images, one.answers) for one in found.questions] == [("a", "", (b"1",), ("A cat.",))]
    assert [(row.reason, row.detail) for row in found.quarantined] == [
        ("missing_image", "b has no image"),
        ("malformed_row", "it has 0 answers; cider needs 1"),
        ("malformed_row", "an answer is not UTF-8: invalid start byte at byte 0"),
    ]


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("id,answer\n")
    (tmp_path / "q.json").write_text("[]")
    (tmp_path / "q.jsonl").write_text('{"id": "b"}\n')
    (tmp_path / "q.parquet").write_bytes(b"PAR1")
    for name, message in {
        "q.csv": r"questions are read from \.jsonl, \.tsv, \.parquet, \.tar files$",
        "q.json": r"from \.jsonl, \.tsv, \.parquet, \.tar files; others need questions\.layout$",
        "q.jsonl": "none of its 1 rows is a question, the first because it has 0 answers; exact_match needs 1$",
        "q.parquet": "q.parquet can't be read: ",
        "none.jsonl": "no file matches ",
    }.items():
        with pytest.raises(UsageError, match=message):
            read(tmp_path / name)
    message = r"q\.csv: questions of the layout pope are read from \.jsonl, \.tsv, \.parquet, \.tar, \.json files$"
    with pytest.raises(UsageError, match=message):
        read(tmp_path / "q.csv", layout="pope")


def test_images_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "set" / "images").mkdir(parents=True)
    (tmp_path / "set" / "images" / "1.jpg").write_bytes(b"one")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "set" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    images = QuestionImages(options(tmp_path / "set" / "q.jsonl"))
    assert images.read(ImageFile("images/1.jpg")) == b"one"
    assert images.read(b"bytes") == b"bytes"
    assert (
        QuestionImages(options("q.jsonl", images=str(tmp_path / "set" / "images"))).read(ImageFile("1.jpg")) == b"one"
    )
    odd = ("https://127.0.0.1/1.jpg", "1\0.jpg", "x" * 300, "x" * 5000, "/" + "9" * 100_000, ".", "images", "../*.*")
    for name in ("2.jpg", "../secret.jpg", f"{tmp_path}/secret.jpg", "link.jpg", "file:///etc/passwd", *odd):
        with pytest.raises(Rejected) as found:
            images.read(ImageFile(name))
        assert found.value.reason == Reason.LOST_IMAGE
        assert len(found.value.detail) < 1000


def test_images_of_a_tar(tmp_path: Path) -> None:
    tar = pack(tmp_path / "images.tar", {"val/1.jpg": b"one", "val/2.jpg": b"two"})
    images = QuestionImages(options("q.jsonl", images=str(tar)))
    assert [images.read(ImageFile(f"val/{n}.jpg")) for n in (2, 1)] == [b"two", b"one"]
    assert images.read(ImageFile("./val/1.jpg")) == b"one"
    dotted = pack(tmp_path / "dotted.tar", {"./val/1.jpg": b"one", "./val/2.png": b"two"})
    images = QuestionImages(options("q.jsonl", images=str(dotted)))
    assert [images.read(ImageFile(name)) for name in ("val/1.jpg", "val/2.*")] == [b"one", b"two"]
    with pytest.raises(Rejected, match=r"3\.jpg is not in "):
        images.read(ImageFile("3.jpg"))
    with pytest.raises(UsageError, match=r"^images: cannot "):
        QuestionImages(options("q.jsonl", images=str(tmp_path / "none.tar")))
