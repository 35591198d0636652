"""VQAv2 and OK-VQA, whose questions are joined with their annotations."""

import io
import json
from typing import Any

import pytest

from curation.sources import SOURCES, ReadOptions
from curation.sources.formats.question_answer import SHORT_ANSWER
from curation.sources.instructions.vqav2 import find_annotations
from schemas.errors import UsageError
from schemas.records.document import ParsedDocument
from schemas.records.quarantine import Rejected

ANSWERS = [
    {"answer": answer, "answer_confidence": "yes", "answer_id": n} for n, answer in enumerate(["net", "race", "race"])
]
ROW = {
    "image_id": 262148,
    "question": "Where is he looking?",
    "question_id": 262148000,
    "question_type": "none of the above",
    "multiple_choice_answer": "race",
    "answer_type": "other",
    "answers": [one | {"raw_answer": f"{one['answer']}ing"} for one in ANSWERS],
}


def read(name: str, row: Any) -> ParsedDocument:
    parsed = SOURCES.find(name).read(row, ReadOptions())
    assert isinstance(parsed, ParsedDocument)
    return parsed


@pytest.mark.parametrize(("name", "answer"), [("vqav2", "race"), ("okvqa", "raceing")])
def test_a_row(name: str, answer: str) -> None:
    parsed = read(name, ROW)
    assert (parsed.uid, parsed.parts, parsed.roles) == (
        "262148000",
        (0, f"Where is he looking?\n{SHORT_ANSWER}", answer),
        ("user", "user", "assistant"),
    )
    assert [image.source for image in parsed.images] == ["COCO_train2014_000000262148.jpg"]
    assert json.loads(parsed.metadata).keys() == {"answers", "question_type", "multiple_choice_answer", "answer_type"}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"image_id": None}, "missing_image: there is no image"),
        ({"image_id": "../1"}, "malformed_row: image_id is not a whole number"),
        ({"question": " "}, "malformed_row: there is no question"),
        ({"answers": []}, "malformed_row: there is no answer: answers is empty"),
        ({"answers": [{"raw": "x"}]}, "malformed_row: there is no answer: answers is empty"),
        ({"answers": "net"}, "malformed_row: answers is a str, not a list"),
        ({"answers": [{"answer": ["x"]}]}, "not_text: answers[0]: a list, not a text"),
    ],
)
def test_odd_rows(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(Rejected) as found:
        read("vqav2", ROW | changes)
    assert str(found.value) == fault


def test_the_names_of_both_files() -> None:
    assert find_annotations("v2_OpenEnded_mscoco_train2014_questions.json") == "v2_mscoco_train2014_annotations.json"
    assert find_annotations("OpenEnded_mscoco_train2014_questions.json") == "mscoco_train2014_annotations.json"
    for name in ("v2_OpenEnded_mscoco_val2014_questions.json", "v2_mscoco_train2014_annotations.json", "q.json"):
        with pytest.raises(UsageError, match=r"^the questions for training are in \*OpenEnded_mscoco_train2014_"):
            find_annotations(name)


@pytest.mark.parametrize("name", ["vqav2", "okvqa"])
def test_both_files_are_objects_with_a_list(name: str) -> None:
    source = SOURCES.find(name)
    assert source.items is not None
    assert source.joined is not None
    questions = io.BytesIO(json.dumps({"info": {}, "questions": [{"question_id": 1}, {"question_id": 2}]}).encode())
    annotations = io.BytesIO(json.dumps({"annotations": [{"question_id": 2, "answers": []}], "info": {}}).encode())
    first, second = source.joined.join(source.items(questions), annotations)
    assert (str(first), second) == (
        "malformed_row: question_id 1 has no annotation",
        {"question_id": 2, "answers": []},
    )
