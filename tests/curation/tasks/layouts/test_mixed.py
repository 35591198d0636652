"""Sets with choices in some questions and open answers in others."""

from pathlib import Path

import pytest

from curation.tasks.question import ImageFile, Question
from schemas.errors import UsageError
from tests.curation.tasks.support.json_rows import JSON
from tests.curation.tasks.support.reading import list_faults, read_published, read_rows
from tests.curation.tasks.support.table_rows import PICTURES, TABLES, encode_base64

RULE = "answer_rule"


def test_mmmu_places_its_images(tmp_path: Path) -> None:
    found = read_published(tmp_path, "mmmu", "validation.parquet", RULE)
    assert found.questions == [
        Question(
            "validation_Art_1",
            "Compare <image> with <image>.",
            (PICTURES[1], PICTURES[0], PICTURES[2]),
            ("B",),
            ("older", "<image>"),
            category="Drawing",
        ),
        Question("validation_Math_2", "<image> What is the area?", (PICTURES[3],), ("3.5",), (), category="Geometry"),
    ]


def test_mmmu_in_tsv(tmp_path: Path) -> None:
    images = str([encode_base64(PICTURES[0]), encode_base64(PICTURES[1])])
    row = {
        "index": 1,
        "id": "v_1",
        "question": "<image 2>?",
        "A": "<image 1>",
        "B": "b",
        "answer": "A",
        "image": images,
    }
    (one,) = read_rows(tmp_path, "mmmu", "MMMU_DEV_VAL.tsv", [row], RULE).questions
    assert one == Question("v_1", "<image>?", (PICTURES[1], PICTURES[0]), ("A",), ("<image>", "b"))


def test_odd_rows_of_mmmu(tmp_path: Path) -> None:
    good = TABLES["mmmu"][0]
    rows = [
        good,
        good | {"id": "2", "image_3": None},
        good | {"id": "3", "answer": "?"},  # as in the test split
        good | {"id": "4", "options": "[x"},
    ]
    found = read_rows(tmp_path, "mmmu", "v.parquet", rows, RULE)
    assert [one.id for one in found.questions] == ["validation_Art_1"]
    assert list_faults(found) == [
        ("missing_image", "options shows image 3, which is not there"),
        ("malformed_row", "the answer '?' is the letter of none of its 2 choices"),
        ("malformed_row", "its choices are a text that is no list: '[x'"),
    ]
    with pytest.raises(UsageError, match="none of its 1 rows is a question, the first because it has no image"):
        read_rows(tmp_path, "mmmu", "w.parquet", [{"id": "1", "question": "Q", "answer": "x", "image_1": None}], RULE)


@pytest.mark.parametrize(("name", "in_parquet"), [("testmini.json", False), ("testmini.parquet", True)])
def test_mathvista(tmp_path: Path, name: str, in_parquet: bool) -> None:
    found = read_published(tmp_path, "mathvista", name, RULE)
    images = [(PICTURES[n],) if in_parquet else (ImageFile(f"images/{n + 1}.jpg"),) for n in range(2)]
    assert found.questions == [
        Question("1", "How much is it? (Unit: $)", images[0], ("1.2",), (), category="float"),
        Question(
            *("2", "What is the largest city?", images[1], ("C",), ("Topeka", "Pierre", "Lincoln")), category="text"
        ),
    ]


def test_an_answer_of_mathvista_that_is_no_choice(tmp_path: Path) -> None:
    rows = [JSON["mathvista"][0], JSON["mathvista"][1] | {"answer": "Austin"}]
    found = read_rows(tmp_path, "mathvista", "t.json", rows, RULE)
    assert list_faults(found) == [("malformed_row", "the answer 'Austin' is the text of none of its 3 choices")]


def test_realworldqa(tmp_path: Path) -> None:
    found = read_published(tmp_path, "realworldqa", "test.parquet", RULE)
    assert found.questions == [
        Question("0", "Where does it point?", (PICTURES[0],), ("C",), ("Left", "Straight", "Right")),
        Question("1", "How many cars?", (PICTURES[1],), ("2",)),
    ]


def test_mantis(tmp_path: Path) -> None:
    found = read_published(tmp_path, "mantis", "test.parquet", RULE)
    assert found.questions == [
        Question(
            "cw_19",
            "<image> <image> Which has more advanced technology?",
            tuple(PICTURES[:2]),
            ("B",),
            ("Image 1", "Image 2", "Both"),
            category="technology",
        ),
        Question(
            "mi_2",
            "How many dogs are in <image> and <image>?",
            tuple(PICTURES[2:4]),
            ("4",),
            category="counting",
        ),
    ]


@pytest.mark.parametrize(("name", "number"), [("v.parquet", "id"), ("v.tsv", "index")])
def test_several_right_answers_of_mmmu(tmp_path: Path, name: str, number: str) -> None:
    """They are a text in both tables."""
    image = TABLES["mmmu"][1]["image_1"] if name == "v.parquet" else "1.jpg"
    column = "image_1" if name == "v.parquet" else "image"
    row = {number: "1", "question": "How much?", "answer": "['24/7', '3.429']", column: image}
    (one,) = read_rows(tmp_path, "mmmu", name, [row], RULE).questions
    assert one.answers == ("24/7", "3.429")
