"""Sets of questions about images: what a row of each published layout gives, and why an odd one is left out."""

import copy
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.sources import SOURCES, ReadOptions
from curation.sources.formats.question_answer import OPTION_LETTER, SHORT_ANSWER
from schemas.errors import UsageError
from schemas.records.document import ParsedDocument
from schemas.records.quarantine import Rejected
from tests.pipelines.support.questions import (
    A_OKVQA,
    AI2D,
    DOCVQA,
    DVQA,
    GQA,
    OCR_VQA,
    OPEN_ORCA,
    ORCA_MATH,
    ROWS,
    SCIENCE_QA,
    SHAREGPT4V,
    TEXTVQA,
    VIZWIZ,
    file_of,
)


def read(name: str, item: Any) -> ParsedDocument:
    parsed = SOURCES.find(name).read(item, ReadOptions())
    assert isinstance(parsed, ParsedDocument)
    return parsed


def items(name: str, content: Any) -> list[Any]:
    found = SOURCES.find(name).items
    assert found is not None
    return list(found(io.BytesIO(json.dumps(content).encode())))


def one_of(name: str, row: dict[str, Any]) -> ParsedDocument:
    (item,) = items(name, file_of(name, row))
    return read(name, item)


EXPECTED = {
    "textvqa": ("0", ["0000599864fd15b3.jpg"], [f"what is the brand of this camera?\n{SHORT_ANSWER}", "Dakota"]),
    "vizwiz": (
        None,
        ["VizWiz_train_00000000.jpg"],
        [f"What's the name of this product?\n{SHORT_ANSWER}", "basil"],
    ),
    "ocr-vqa": (
        "1",
        ["1.jpg"],
        [f"Who wrote this book?\n{SHORT_ANSWER}", "Sandra Boynton", "Is this a games related book?", "No"],
    ),
    "a-okvqa": (
        "22MexNkBPpdZGX6sxbxVBH",
        ["000000299207.jpg"],
        [
            "What is the man by the bags awaiting?\nA. skateboarder\nB. train\nC. delivery\nD. cab\n" + OPTION_LETTER,
            "D",
        ],
    ),
    "gqa": ("1", ["2354786.jpg"], [f"Is the sky dark?\n{SHORT_ANSWER}", "yes"]),
    "docvqa": (
        "337",
        ["documents/xnbl0037_1.png"],
        [f"what is the date mentioned in this letter?\n{SHORT_ANSWER}", "1/8/93"],
    ),
    "chartqa": (None, ["two_col_103562.png"], [f"Is the value of “Étude” bigger?\n{SHORT_ANSWER}", "Yes"]),
    "dvqa": (
        "7",
        ["bar_train_00000001.png"],
        [f"What is the label of the second bar from the left?\n{SHORT_ANSWER}", "closet"],
    ),
    "ai2d": (
        "0.png",
        ["images/0.png", "abc_images/0.png"],
        [
            f"Which part hears?\nA. ears\nB. nose\n{OPTION_LETTER}",
            "A",
            f"What is A in the diagram?\nA. ears\nB. nose\nC. mouth\nD. face\n{OPTION_LETTER}",
            "D",
            f"What is B in the diagram?\nA. face\nB. mouth\nC. nose\nD. ears\n{OPTION_LETTER}",
            "D",
        ],
    ),
    "clevr": (
        "12",
        ["CLEVR_train_000000.png"],
        [f"Are there more big green things than large purple shiny cubes?\n{SHORT_ANSWER}", "yes"],
    ),
    "science-qa": (
        "1",
        ["train/1/image.png"],
        [
            "Which of these states is farthest north?\nA. West Virginia\nB. Louisiana\nC. Arizona\n" + OPTION_LETTER,
            "A",
        ],
    ),
}
"""The id, the names of the images and the texts of each row above."""


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_each_layout(name: str) -> None:
    parsed = one_of(name, ROWS[name])
    uid, images, texts = EXPECTED[name]
    assert parsed.uid == uid
    assert [image.source for image in parsed.images] == images
    assert [json.loads(image.metadata) for image in parsed.images] == [{"path": path} for path in images]
    assert [part for part in parsed.parts if isinstance(part, str)] == texts
    assert parsed.roles is not None
    assert [role for part, role in zip(parsed.parts, parsed.roles, strict=True) if isinstance(part, str)] == [
        "user",
        "assistant",
    ] * (len(texts) // 2)
    assert parsed.parts[0] == 0, "the image comes before the question"


def test_the_picture_with_letters_comes_before_the_questions_about_them() -> None:
    assert one_of("ai2d", AI2D).roles == ("user", "user", "assistant", "user", "user", "assistant", "user", "assistant")
    assert [part for part in one_of("ai2d", AI2D).parts if isinstance(part, int)] == [0, 1]
    assert read("ai2d", json.dumps(AI2D)).parts == one_of("ai2d", AI2D).parts, "a line of JSONL is the same"


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("textvqa", TEXTVQA.keys() - {"question", "question_id", "image_id", "question_tokens"}),
        ("vizwiz", VIZWIZ.keys() - {"question", "image"}),
        ("ocr-vqa", {"imageURL", "title", "authorName", "genre"}),
        ("a-okvqa", A_OKVQA.keys() - {"question", "question_id", "image_id"}),
        ("gqa", {"isBalanced", "types", "fullAnswer"}),
        ("docvqa", DOCVQA.keys() - {"question", "questionId", "image"}),
        ("chartqa", set()),
        ("dvqa", {"question_type", "template_id", "bbox_answer"}),
        ("ai2d", {"question_ids"}),
        ("clevr", {"image_index", "question_family_index", "split"}),
        ("science-qa", {"choices", "answer", "task", "grade", "subject", "lecture", "solution"}),
    ],
)
def test_what_else_a_row_says_is_in_the_metadata(name: str, metadata: set[str]) -> None:
    assert json.loads(one_of(name, ROWS[name]).metadata).keys() == metadata


def with_question(**changes: Any) -> dict[str, Any]:
    """The diagram with another first question."""
    row = copy.deepcopy(AI2D)
    row["questions"]["What is A in the diagram?"] |= changes  # type: ignore[index]
    return row


ODD: list[tuple[str, dict[str, Any], str]] = [
    # no image
    ("textvqa", {"image_id": None}, "missing_image: there is no image_id"),
    ("textvqa", {"image_id": ""}, "missing_image: there is no image_id"),
    ("vizwiz", {"image": None}, "missing_image: there is no image"),
    ("a-okvqa", {"image_id": None}, "missing_image: there is no image_id"),
    ("a-okvqa", {"image_id": "../../etc"}, "malformed_row: image_id is not a whole number"),
    ("gqa", {"imageId": None}, "missing_image: there is no imageId"),
    ("docvqa", {"image": None}, "missing_image: there is no image"),
    ("docvqa", {"image": ["a.png"]}, "malformed_row: image is a list, not a text"),
    ("chartqa", {"imgname": ""}, "missing_image: there is no imgname"),
    ("dvqa", {"image": None}, "missing_image: there is no image"),
    ("clevr", {"image_filename": None}, "missing_image: there is no image_filename"),
    ("ai2d", {"imageName": None}, "missing_image: there is no imageName"),
    # no question
    ("textvqa", {"question": " \n"}, "malformed_row: there is no question"),
    ("chartqa", {"query": None}, "malformed_row: there is no query"),
    ("clevr", {"question": ["a"]}, "not_text: question: a list, not a text"),
    ("ocr-vqa", {"questions": [], "answers": []}, "malformed_row: 0 questions and 0 answers"),
    ("ocr-vqa", {"questions": ["Who?", ""]}, "malformed_row: there is no questions[1]"),
    ("ocr-vqa", {"questions": ["Who?"]}, "malformed_row: 1 questions and 2 answers"),
    ("ai2d", {"questions": {}}, "malformed_row: there is no question"),
    ("ai2d", {"questions": {"What?": "A"}}, "malformed_row: a question is a str, not an object"),
    # no answer, or several
    ("textvqa", {"answers": []}, "malformed_row: there is no answer: answers is empty"),
    ("textvqa", {"answers": None}, "malformed_row: there is no answer: answers is empty"),
    ("textvqa", {"answers": ["", " "]}, "malformed_row: there is no answer: answers is empty"),
    ("textvqa", {"answers": "dakota"}, "malformed_row: answers is a str, not a list"),
    ("textvqa", {"answers": ["a", {"answer": "b"}]}, "not_text: answers[1]: a dict, not a text"),
    ("vizwiz", {"answers": [{"answer": " "}]}, "malformed_row: there is no answer: answers is empty"),
    ("vizwiz", {"answers": [{"answer": ["a"]}]}, "not_text: answers[0]: a list, not a text"),
    ("vizwiz", {"answers": "basil"}, "malformed_row: answers is a str, not a list"),
    ("docvqa", {"answers": None}, "malformed_row: there is no answer: answers is empty"),
    ("gqa", {"answer": None}, "malformed_row: there is no answer"),
    ("gqa", {"answer": "x\ud83d"}, "not_text: answer: half of a surrogate pair at character 1"),
    ("clevr", {"answer": True}, "not_text: answer: a bool, not a text"),
    ("chartqa", {"label": ""}, "malformed_row: there is no label"),
    ("dvqa", {"answer": None}, "malformed_row: there is no answer"),
    ("ocr-vqa", {"answers": ["Sandra Boynton", None]}, "malformed_row: there is no answers[1]"),
    # a choice that is none
    ("a-okvqa", {"correct_choice_idx": 4}, "malformed_row: correct_choice_idx is '4', not a number from 0 to 3"),
    ("a-okvqa", {"correct_choice_idx": -1}, "malformed_row: correct_choice_idx is '-1', not a number from 0 to 3"),
    ("a-okvqa", {"correct_choice_idx": True}, "malformed_row: correct_choice_idx is 'True', not a number from 0 to 3"),
    ("a-okvqa", {"correct_choice_idx": "3"}, "malformed_row: correct_choice_idx is '3', not a number from 0 to 3"),
    ("a-okvqa", {"correct_choice_idx": None}, "malformed_row: there is no answer: correct_choice_idx is null"),
    ("a-okvqa", {"choices": ["cab"]}, "malformed_row: choices has 1 entries, not 2 to 10"),
    ("a-okvqa", {"choices": ["a", "", "c", "d"]}, "malformed_row: there is no choices[1]"),
    ("science-qa", {"answer": 3}, "malformed_row: answer is '3', not a number from 0 to 2"),
    ("science-qa", {"choices": None}, "malformed_row: choices has 0 entries, not 2 to 10"),
    ("ai2d", with_question(correctAnswer=4), "malformed_row: correctAnswer is '4', not a number from 0 to 3"),
    ("ai2d", with_question(answerTexts=[]), "malformed_row: answerTexts has 0 entries, not 2 to 10"),
    # a box that is none
    ("dvqa", {"bbox_answer": [1, 2, 3]}, "malformed_row: bbox_answer is not [x, y, width, height]: [1, 2, 3]"),
    ("dvqa", {"bbox_answer": [1, 2, 3, -4]}, "malformed_row: bbox_answer is not [x, y, width, height]: [1, 2, 3, -4]"),
    (
        "dvqa",
        {"bbox_answer": ["1", 2, 3, 4]},
        "malformed_row: bbox_answer is not [x, y, width, height]: ['1', 2, 3, 4]",
    ),
    ("dvqa", {"bbox_answer": "1,2,3,4"}, "malformed_row: bbox_answer is a str, not a list"),
    ("dvqa", {"answer_bbox": [1]}, "malformed_row: answer_bbox is not [x, y, width, height]: [1]"),
    # of a split that is to evaluate with
    ("ocr-vqa", {"split": 2}, "other_split: split is '2'; 1 is for training"),
    ("ocr-vqa", {"split": None}, "other_split: split is 'None'; 1 is for training"),
    ("science-qa", {"split": "test"}, "other_split: split is 'test'; 'train' is for training"),
]


@pytest.mark.parametrize(("name", "changes", "fault"), ODD)
def test_odd_rows_are_left_out_and_no_other(name: str, changes: dict[str, Any], fault: str) -> None:
    odd = changes if {"questions", "imageName"} <= changes.keys() else ROWS[name] | changes
    rows = [ROWS[name], odd, ROWS[name]] if name != "ai2d" else [odd]
    content = file_of(name, *rows)
    found = items(name, content)
    assert len(found) == len(rows)
    with pytest.raises(Rejected) as error:
        read(name, found[len(rows) // 2])
    assert str(error.value) == fault
    for item in (found[0], found[-1]) if name != "ai2d" else ():
        assert read(name, item).parts


@pytest.mark.parametrize("name", [*ROWS, "sharegpt4v", "open-orca", "orca-math"])
@pytest.mark.parametrize("item", [7, None, [], "text", '["a"]', "{", {}])
def test_what_is_no_row(name: str, item: Any) -> None:
    with pytest.raises(Rejected):
        read(name, item)


@pytest.mark.parametrize(
    ("answers", "chosen"),
    [
        (["a", "b", "b"], "b"),
        (["b", "a", "A", "b"], "b"),  # as often: the first
        (["Two  words", "two words", "one"], "Two  words"),  # in its own case and spaces
        (["", None, "a"], "a"),
        ([7, 7.5, 7], "7"),
        (["ß", "SS", "x"], "ß"),  # one word in two cases
    ],
)
def test_one_of_several_answers(answers: list[Any], chosen: str) -> None:
    assert one_of("textvqa", TEXTVQA | {"answers": answers}).parts[-1] == chosen


def test_a_box_under_either_name_is_kept() -> None:
    for changes in ({"bbox_answer": []}, {"bbox_answer": None, "answer_bbox": [1, 2, 3, 4]}):
        assert one_of("dvqa", DVQA | changes).parts[-1] == "closet"
    assert json.loads(one_of("dvqa", DVQA | {"answer_bbox": [1, 2, 3, 4]}).metadata)["answer_bbox"] == [1, 2, 3, 4]


def test_a_cover_has_the_ending_of_its_address() -> None:
    for url, name in (("http://a.b/I/x.png?y=1.gif", "1.png"), ("http://a.b/x", "1.jpg"), (None, "1.jpg")):
        assert [image.source for image in one_of("ocr-vqa", OCR_VQA | {"imageURL": url}).images] == [name]


def test_questions_without_an_image() -> None:
    parsed = one_of("science-qa", SCIENCE_QA | {"image": None, "hint": "Think of ☃."})
    assert parsed.images == ()
    assert parsed.roles == ("user", "assistant")
    assert parsed.parts[0] == (
        "Which of these states is farthest north?\nContext: Think of ☃.\nA. West Virginia\nB. Louisiana\nC. Arizona\n"
        + OPTION_LETTER
    )


def test_science_qa_of_the_hub(tmp_path: Path) -> None:
    """The file is in the row, and there is neither an id nor a split."""
    rows: list[dict[str, Any]] = [
        {name: value for name, value in SCIENCE_QA.items() if name != "split"} | {"image": image}
        for image in ({"bytes": b"png", "path": "image.png"}, None, {"bytes": None, "path": None})
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    read_back = pq.read_table(tmp_path / "a.parquet").to_pylist()
    found = [read("science-qa", row) for row in read_back]
    assert [[image.source for image in parsed.images] for parsed in found] == [[b"png"], [], []]
    assert {parsed.parts[-1] for parsed in found} == {"A"}
    assert found[0].uid is None


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("textvqa", [TEXTVQA], "it does not begin as a JSON object does"),
        ("textvqa", {"rows": []}, "its JSON object has no member 'data'"),
        ("clevr", {"questions": {}}, "its member 'questions' is not a list"),
        ("gqa", [GQA], "it does not begin as a JSON object does"),
        ("dvqa", {"1": DVQA}, "it does not begin as a JSON list does"),
        ("ai2d", [AI2D], "it is not a JSON object"),
    ],
)
def test_files_of_another_layout_are_refused(name: str, content: Any, fault: str) -> None:
    with pytest.raises(UsageError) as error:
        items(name, content)
    assert str(error.value) == fault


# text alone, and captions


def test_open_orca() -> None:
    row = OPEN_ORCA | {"question": "Why?\n", "response": " Because. ☃"}
    parsed = read("open-orca", row)
    assert (parsed.uid, parsed.parts) == ("flan.564327", ("You are an AI.", "Why?", "Because. ☃"))
    assert parsed.roles == ("system", "user", "assistant")
    assert read("open-orca", json.dumps(row | {"system_prompt": ""})).roles == ("user", "assistant")
    for name, fault in (("question", "there is no question"), ("response", "there is no response")):
        with pytest.raises(Rejected, match=f"^malformed_row: {fault}$"):
            read("open-orca", row | {name: None})


def test_orca_math() -> None:
    parsed = read("orca-math", ORCA_MATH)
    assert (parsed.uid, parsed.parts, parsed.roles) == (None, ("What is 2 + 2?", "It is 4."), ("user", "assistant"))
    with pytest.raises(Rejected, match=r"^malformed_row: there is no answer$"):
        read("orca-math", ORCA_MATH | {"answer": " "})


def test_sharegpt4v() -> None:
    (item,) = items("sharegpt4v", [SHAREGPT4V])
    parsed = read("sharegpt4v", item)
    assert [image.source for image in parsed.images] == ["coco/train2017/000000000009.jpg"]
    assert parsed.parts[-1] == "In the heart of the image, a snowman ☃ stands."
    turns = [{"from": "human", "value": "Hi."}, {"from": "gpt", "value": "Hello."}]
    for row, fault in (
        (SHAREGPT4V | {"image": None, "conversations": turns}, "missing_image: there is no image"),
        (
            SHAREGPT4V | {"conversations": [*SHAREGPT4V["conversations"], *turns]},
            "malformed_row: 1 images and 2 answers, where a caption has one each: is it of `llava`?",
        ),
        (SHAREGPT4V | {"conversations": []}, "malformed_row: nobody answers"),
    ):
        with pytest.raises(Rejected) as error:
            read("sharegpt4v", row)
        assert str(error.value) == fault
