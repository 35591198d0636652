"""Sets of open questions in their published layouts."""

from pathlib import Path
from typing import Any

import pytest

from curation.tasks.question import ImageFile, Question
from schemas.errors import UsageError
from tests.curation.tasks.support.json_rows import JSON, VQA_ANNOTATIONS, VQA_QUESTIONS, Row
from tests.curation.tasks.support.published import write_annotations, write_published
from tests.curation.tasks.support.reading import list_faults, read, read_published, read_rows
from tests.curation.tasks.support.table_rows import STRUCTS

NAME = "v2_OpenEnded_mscoco_val2014_questions.json"


@pytest.mark.parametrize(("layout", "answer", "category"), [("vqav2", "net", "other"), ("okvqa", "racing", "")])
def test_questions_are_joined_with_their_annotations(tmp_path: Path, layout: str, answer: str, category: str) -> None:
    """Answers of OK-VQA are those that people gave, not their stems."""
    write_annotations(layout, tmp_path / "a.json")
    found = read_published(tmp_path, layout, NAME, "vqa_accuracy", annotations=str(tmp_path / "a.json"))
    assert found.questions == [
        Question(
            "262148000",
            "Where is he looking?",
            (ImageFile("COCO_val2014_000000262148.jpg"),),
            (answer,) * 10,
            category=category,
        ),
        Question(
            "393225001",
            "What is this?",
            (ImageFile("COCO_val2014_000000393225.jpg"),),
            (answer,) * 10,
            category=category,
        ),
    ]


def test_odd_questions_and_annotations(tmp_path: Path) -> None:
    rows: list[Any] = [
        *VQA_QUESTIONS,
        VQA_QUESTIONS[0],
        {"question_id": 7, "question": "Q", "image_id": 1},
        {"question": "Q"},
        "text",
        VQA_QUESTIONS[1] | {"question": " "},
        {"question_id": 262148000, "question": "Q"},  # the annotation has the image
    ]
    write_annotations("vqav2", tmp_path / "a.json")
    found = read_rows(tmp_path, "vqav2", "q.json", rows, "vqa_accuracy", annotations=str(tmp_path / "a.json"))
    assert [one.images for one in found.questions] == [
        (ImageFile("000000262148.jpg"),),  # as in COCO 2017, since the file's name says no split
        (ImageFile("000000393225.jpg"),),
    ]
    assert list_faults(found) == [
        ("duplicate_key", "question '262148000' came before"),
        ("malformed_row", "question 7 has no annotation"),
        ("malformed_row", "question None has no annotation"),
        ("malformed_row", "a str, not an object"),
        ("malformed_row", "the question is empty"),
        ("duplicate_key", "question '262148000' came before"),
    ]
    assert [row.key.rpartition("#")[2] for row in found.quarantined] == ["2", "3", "4", "5", "6", "7"]


def test_without_answers_there_is_no_question(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of its 2 rows is a question, the first because it has 0 answers;"):
        read_published(tmp_path, "vqav2", NAME, "vqa_accuracy")


def test_wrong_annotations(tmp_path: Path) -> None:
    write_published("vqav2", tmp_path / NAME)
    for text, message in {
        '{"annotations": [{"answers": []}]}': r"a\.json: an annotation has no question_id$",
        "[]": r"a\.json can't be read: it does not begin as a JSON object does$",
    }.items():
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(UsageError, match=message):
            read(tmp_path / NAME, "vqav2", "vqa_accuracy", annotations=str(tmp_path / "a.json"))


EXPECTED = {
    "textvqa": (
        "vqa_accuracy",
        Question(
            "0",
            "what is the brand of this camera?",
            (ImageFile("0000599864fd15b3.jpg"),),
            ("nous les gosses", "dakota", "clos culombu", "dakota digital", *["Dakota"] * 5, "dakota  "),
        ),
    ),
    "vizwiz": (
        "vqa_accuracy",
        Question(
            "VizWiz_val_00000000.jpg",
            "Ok. There is another picture I hope it is a better one.",
            (ImageFile("VizWiz_val_00000000.jpg"),),
            (*["unanswerable"] * 9, "unsuitable"),
            category="other",
        ),
    ),
    "gqa": ("exact_match", Question("01", "Is the sky dark?", (ImageFile("2354786.jpg"),), ("yes",))),
    "docvqa": (
        "anls",
        Question(
            "337",
            "what is the date mentioned in this letter?",
            (ImageFile("documents/xnbl0037_1.png"),),
            ("1/8/93", "1/8/93.", "1/8/93"),
        ),
    ),
    "chartqa": (
        "relaxed_accuracy",
        Question("0", "Is the value of “Étude” bigger?", (ImageFile("two_col_103562.png"),), ("Yes",)),
    ),
}


@pytest.mark.parametrize("layout", EXPECTED)
def test_the_first_row_of_each_json_file(tmp_path: Path, layout: str) -> None:
    metric, expected = EXPECTED[layout]
    found = read_published(tmp_path, layout, "val.json", metric)
    assert found.questions[0] == expected
    assert len(found.questions) == len(JSON[layout])
    assert found.quarantined == []


def test_odd_rows_of_a_json_file(tmp_path: Path) -> None:
    row = JSON["textvqa"][0]
    rows = [
        row,
        row | {"image_id": None, "question_id": 2},
        row | {"answers": [], "question_id": 3},
        row | {"question": 5},
    ]
    found = read_rows(tmp_path, "textvqa", "val.json", rows, "vqa_accuracy")
    assert [one.id for one in found.questions] == ["0"]
    assert list_faults(found) == [
        ("missing_image", "it has no image"),
        ("malformed_row", "it has 0 answers; vqa_accuracy needs 4"),
        ("duplicate_key", "question '0' came before"),
    ]
    (tmp_path / "val.json").write_text('{"data": [1')
    with pytest.raises(UsageError, match=r"val\.json can't be read: its JSON list breaks off after entry 0$"):
        read(tmp_path / "val.json", "textvqa", "vqa_accuracy")


@pytest.mark.parametrize(
    ("layout", "metric", "row", "expected"),
    [
        (
            "vqav2",
            "vqa_accuracy",
            {**VQA_ANNOTATIONS[0], "image_id": 262148, "question": "Where?", "image": STRUCTS[0]},
            Question("262148000", "Where?", (STRUCTS[0]["bytes"],), ("net",) * 10, category="other"),
        ),
        (
            "okvqa",
            "vqa_accuracy",
            {"question_id": "5", "image": STRUCTS[0], "question": "What?", "answers": ["racing"] * 10},
            Question("5", "What?", (STRUCTS[0]["bytes"],), ("racing",) * 10),
        ),
        (
            "textvqa",
            "vqa_accuracy",
            {"question_id": 5, "image_id": "00", "image": STRUCTS[0], "question": "What?", "answers": ["a"] * 10},
            Question("5", "What?", (STRUCTS[0]["bytes"],), ("a",) * 10),
        ),
        (
            "vizwiz",
            "vqa_accuracy",
            {"question_id": "v.jpg", "image": STRUCTS[0], "question": "What?", "answers": ["a"] * 10, "category": "x"},
            Question("v.jpg", "What?", (STRUCTS[0]["bytes"],), ("a",) * 10, category="x"),
        ),
        (
            "docvqa",
            "anls",
            {"questionId": "5", "question": "When?", "image": STRUCTS[0], "docId": 1, "answers": ["1/8"]},
            Question("5", "When?", (STRUCTS[0]["bytes"],), ("1/8",)),
        ),
        (
            "chartqa",
            "relaxed_accuracy",
            {"type": "human_test", "question": "How many?", "answer": "14", "image": STRUCTS[0]},
            Question("0", "How many?", (STRUCTS[0]["bytes"],), ("14",), category="human_test"),
        ),
    ],
)
def test_parquet_as_lmms_eval_publishes_it(
    tmp_path: Path, layout: str, metric: str, row: Row, expected: Question
) -> None:
    assert read_rows(tmp_path, layout, "val.parquet", [row], metric).questions == [expected]


def test_several_answers_in_a_tsv(tmp_path: Path) -> None:
    """VLMEvalKit's TSV files have them as a list in Python's notation."""
    row = {"index": 1, "question": "When?", "answer": "['1/8/93', '1/8/93.']", "image": "1.jpg"}
    (one,) = read_rows(tmp_path, "docvqa", "DocVQA_VAL.tsv", [row], "anls").questions
    assert one.answers == ("1/8/93", "1/8/93.")


def test_a_column_of_images_without_any(tmp_path: Path) -> None:
    """The image is then the one that the number names, also of a column of numbers with gaps."""
    rows = [VQA_QUESTIONS[0] | {"image": None, "image_id": number, "answers": ["a"] * 4} for number in (262148.0, None)]
    found = read_rows(tmp_path, "vqav2", "val2014.parquet", rows, "vqa_accuracy")
    assert [one.images for one in found.questions] == [(ImageFile("COCO_val2014_000000262148.jpg"),)]
    assert list_faults(found) == [("missing_image", "it has no image")]
