"""Rows of published sets become questions, or are rejected with a reason."""

import base64
from typing import Any

import pytest

from curation.scores.answers.registry import METRICS
from curation.tasks.options import QuestionSetOptions
from curation.tasks.question import ImageFile, Question
from curation.tasks.rows import read_question
from schemas.records.quarantine import Reason, Rejected

Row = dict[str, Any]
DATA = bytes(range(256))
BASE64 = base64.b64encode(DATA).decode()


def read(row: Row, metric: str = "exact_match", **options: Any) -> Question:
    return read_question(row, 7, QuestionSetOptions.model_validate({"path": "x.jsonl"} | options), METRICS[metric])


def test_a_row_of_our_own_layout() -> None:
    row = {"id": "a", "image": "1.jpg", "question": "What?", "answers": ["cat", "a cat"], "category": "pets"}
    assert read(row) == Question("a", "What?", (ImageFile("1.jpg"),), ("cat", "a cat"), category="pets")


@pytest.mark.parametrize(
    ("row", "metric", "options", "expected"),
    [
        (  # VQAv2 and its like, as harnesses publish them in Parquet
            {
                "question_id": 262148000,
                "image": {"bytes": b"jpeg", "path": "1.jpg"},
                "question": "Where?",
                "answers": [{"answer": "down", "answer_confidence": "yes", "answer_id": 1}] * 10,
                "multiple_choice_answer": "down",
            },
            "vqa_accuracy",
            {},
            Question("262148000", "Where?", (b"jpeg",), ("down",) * 10),
        ),
        (  # COCO's captions
            {"id": 3, "image": {"bytes": b"png", "path": None}, "captions": ["A cat.", "One cat."]},
            "cider",
            {},
            Question("3", "", (b"png",), ("A cat.", "One cat.")),
        ),
        (  # MMBench
            {"index": 5, "image": b"jpg", "question": "Q", "A": "x", "B": "y", "C": None, "D": None, "answer": "B"},
            "multiple_choice",
            {},
            Question("5", "Q", (b"jpg",), ("B",), ("x", "y")),
        ),
        (  # ScienceQA
            {"image": b"jpg", "question": "Q", "choices": ["x", "y", "z"], "answer": 2},
            "multiple_choice",
            {"right_choice": "index"},
            Question("7", "Q", (b"jpg",), ("C",), ("x", "y", "z")),
        ),
        (  # MMMU, whose list is a text
            {"id": "m", "question": "Q", "options": "['x', 'y']", "answer": "A", "image_1": {"bytes": b"1"}},
            "multiple_choice",
            {"columns": {"images": "image_1"}},
            Question("m", "Q", (b"1",), ("A",), ("x", "y")),
        ),
        (  # SEED
            {
                "question_id": "s",
                "question": "Q",
                "choice_a": "x",
                "choice_b": "y",
                "answer": "A",
                "image": [b"1", b"2"],
            },
            "multiple_choice",
            {"columns": {"choices": ["choice_a", "choice_b"]}},
            Question("s", "Q", (b"1", b"2"), ("A",), ("x", "y")),
        ),
        (
            {"question": "Q", "choices": '["x", "y"]', "answer": "y"},
            "multiple_choice",
            {"right_choice": "text"},
            Question("7", "Q", (), ("B",), ("x", "y")),
        ),
        (  # MME
            {"question_id": "e/1.jpg", "question": "Q? yes or no", "answer": "Yes", "category": "existence", "p": "q"},
            "mme",
            {"columns": {"group": "question_id", "id": "p"}},
            Question("q", "Q? yes or no", (), ("Yes",), group="e/1.jpg", category="existence"),
        ),
        (  # VLGuard has no right answer
            {"id": "v", "question": "How?", "image": "a/b.png"},
            "attack_success_rate",
            {},
            Question("v", "How?", (ImageFile("a/b.png"),), ()),
        ),
        ({"question": "1 + 1", "answer": 2.5}, "relaxed_accuracy", {}, Question("7", "1 + 1", (), ("2.5",))),
        (  # numbers of pandas' columns with gaps
            {"id": 12.0, "question": "Q", "choices": ["x", "y"], "answer": 1.0, "category": 3.0},
            "multiple_choice",
            {"right_choice": "index"},
            Question("12", "Q", (), ("B",), ("x", "y"), category="3"),
        ),
        (  # an empty answer is one of ten people's
            {"question": "Q", "answers": ["", "x", {"answer": ""}, *["y"] * 7, None]},
            "vqa_accuracy",
            {},
            Question("7", "Q", (), ("", "x", "", *["y"] * 7)),
        ),
        ({"question": "Q", "answers": [" ", "x"]}, "exact_match", {}, Question("7", "Q", (), ("x",))),
        (  # the first column that has a value
            {"question_id": "", "id": 4, "question": None, "prompt": "Q", "answers": [], "answer": "a"},
            "exact_match",
            {},
            Question("4", "Q", (), ("a",)),
        ),
        (
            {"question": "Q", "choices": {"B": "y", "A": "x"}, "answer": "(b)"},
            "multiple_choice",
            {},
            Question("7", "Q", (), ("B",), ("x", "y")),
        ),
        (
            {"question": "Q", "options": list("abcdefghij"), "answer": "J"},
            "multiple_choice",
            {},
            Question("7", "Q", (), ("J",), tuple("abcdefghij")),
        ),
        (
            {"question": "图中是什么？", "A": "猫", "B": "狗", "answer": "B", "image": BASE64},
            "multiple_choice",
            {},
            Question("7", "图中是什么？", (DATA,), ("B",), ("猫", "狗")),
        ),
        (
            {
                "question": "Q",
                "image": [{"bytes": b"1", "path": None}, "2.jpg", f"data:image/png;base64,{BASE64}"],
                "answer": "a",
            },
            "exact_match",
            {},
            Question("7", "Q", (b"1", ImageFile("2.jpg"), DATA), ("a",)),
        ),
        (
            {"question": "<image> or <image>?", "images": ["1.jpg", "2.jpg"], "answer": "1"},
            "exact_match",
            {},
            Question("7", "<image> or <image>?", (ImageFile("1.jpg"), ImageFile("2.jpg")), ("1",)),
        ),
    ],
)
def test_layouts(row: Row, metric: str, options: dict[str, Any], expected: Question) -> None:
    assert read(row, metric, **options) == expected


@pytest.mark.parametrize(
    ("row", "metric", "options", "detail"),
    [
        ({"question": "Q"}, "exact_match", {}, "it has 0 answers; exact_match needs 1"),
        ({"question": "Q", "answers": ["", None]}, "exact_match", {}, "it has 0 answers; exact_match needs 1"),
        ({"question": "Q", "answers": [" ", "\n"]}, "exact_match", {}, "it has 0 answers; exact_match needs 1"),
        ({"question": "Q", "answer": float("nan")}, "exact_match", {}, "it has 0 answers; exact_match needs 1"),
        ({"question": "Q", "answers": [""] * 10}, "vqa_accuracy", {}, "it has 0 answers; vqa_accuracy needs 4"),
        ({"question": "Q", "answers": [["a"]]}, "exact_match", {}, "an answer is a list, not a text"),
        ({"question": "Q", "answer": "maybe"}, "pope", {}, "the answer 'maybe' is neither yes nor no"),
        ({"question": "Q", "answers": ["yes", "No"]}, "mme", {}, "the answer 'no, yes' is neither yes nor no"),
        ({"question": "Q", "answer": 1}, "hallusion_rule", {}, "the answer '1' is neither yes nor no"),
        ({"question": "Q", "answer": "left"}, "grounding", {}, "the answer 'left' has no box"),
        ({"question": "Q", "answers": [0.1, 0.2, 0.5, 0.6]}, "grounding", {}, "the answer '0.1' has no box"),
        (
            {"question": "Q", "answer": "A", "choices": ["x", None, "y"]},
            "multiple_choice",
            {},
            "its choice B is empty, and a later one is not",
        ),
        (
            {"question": "Q", "answer": "A", "A": "x", "B": float("nan"), "C": "y"},
            "multiple_choice",
            {},
            "its choice B is empty, and a later one is not",
        ),
        (
            {"question": "Q", "answer": "A", "choices": ["x", "", None]},
            "multiple_choice",
            {},
            "it has 1 choices; multiple_choice needs 2",
        ),
        (
            {"question": "Q", "answer": "A", "choices": "['x' 'y']"},
            "multiple_choice",
            {},
            "its choices are a text that is no list: \"['x' 'y']\"",
        ),
        (
            {"question": "Q", "answer": "A", "choices": {"1": "x", "2": "y"}},
            "multiple_choice",
            {},
            "its choices are no list of at most 26 texts",
        ),
        (
            {"question": "Q", "answer": "9" * 5000, "choices": ["x", "y"]},
            "multiple_choice",
            {"right_choice": "index"},
            f"the answer {'9' * 60!r} is the index of none of its 2 choices",
        ),
        (
            {"question": "Q", "answer": "I", "choices": list("abcdefgh")},
            "multiple_choice",
            {},
            "the answer 'I' is the letter of none of its 8 choices",
        ),
        ({"question": "Q", "answers": ["a"] * 3}, "vqa_accuracy", {}, "it has 3 answers; vqa_accuracy needs 4"),
        ({"question": 3.5, "answer": {"x": 1}}, "exact_match", {}, "it has 0 answers; exact_match needs 1"),
        ({"question": ["Q"], "answer": "a"}, "exact_match", {}, "the question is a list, not a text"),
        ({"question": "Q", "answer": True}, "exact_match", {}, "an answer is a bool, not a text"),
        (
            {"question": "Q", "answer": "a", "id": b"\xff"},
            "exact_match",
            {},
            "the id is not UTF-8: invalid start byte at byte 0",
        ),
        ({"question": "Q", "answer": "a", "image": 3}, "exact_match", {}, "image is a int, not a list"),
        ({"question": "<image>", "answer": "a"}, "exact_match", {}, "the question has 1 times <image>, but 0 images"),
        (
            {"question": "Q", "answer": "C", "choices": ["x", "y"]},
            "multiple_choice",
            {},
            "the answer 'C' is the letter of none of its 2 choices",
        ),
        (
            {"question": "Q", "answer": "A"},
            "multiple_choice",
            {},
            "the answer 'A' is the letter of none of its 0 choices",
        ),
        (
            {"question": "Q", "answer": "-1", "choices": ["x"]},
            "multiple_choice",
            {"right_choice": "index"},
            "the answer '-1' is the index of none of its 1 choices",
        ),
        (
            {"question": "Q", "answer": "x", "choices": ["x", "x"]},
            "multiple_choice",
            {"right_choice": "text"},
            "the answer 'x' is the text of none of its 2 choices",
        ),
        (
            {"question": "Q", "answer": "A", "options": "__import__('os')"},
            "multiple_choice",
            {},
            "its choices are a text that is no list: \"__import__('os')\"",
        ),
        (
            {"question": "Q", "answer": "A", "choices": ["x"] * 27},
            "multiple_choice",
            {},
            "its choices are no list of at most 26 texts",
        ),
        ({"question": "Q", "answer": "a"}, "exact_match", {"columns": {"answers": "gt"}}, "it has no gt"),
    ],
)
def test_odd_rows(row: Row, metric: str, options: dict[str, Any], detail: str) -> None:
    with pytest.raises(Rejected) as found:
        read(row, metric, **options)
    assert (found.value.reason, found.value.detail) == (Reason.MALFORMED_ROW, detail)


def test_a_long_text_that_is_no_image() -> None:
    with pytest.raises(Rejected) as found:
        read({"question": "Q", "answer": "a", "image": "x!" * 200})
    assert (found.value.reason, found.value.detail) == (Reason.DECODE_ERROR, "its image is not base64")
