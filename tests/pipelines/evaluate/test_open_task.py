"""Tasks are opened and checked before a model is loaded."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from curation.tasks.options import TaskOptions
from curation.tasks.question import Question
from pipelines.evaluate.open_task import draw_questions, open_task
from schemas.errors import UsageError


def ask(*groups: str) -> list[Question]:
    return [Question(str(number), "Q", (), ("a",), group=group) for number, group in enumerate(groups)]


def list_ids(questions: list[Question]) -> list[str]:
    return [question.id for question in questions]


def test_questions_without_groups_are_drawn_one_by_one() -> None:
    questions = ask(*[""] * 20)
    assert list_ids(draw_questions(questions, 5, 0)) == ["1", "8", "12", "13", "15"]
    assert draw_questions(questions, 5, 0) != draw_questions(questions, 5, 1)


def test_groups_are_drawn_whole() -> None:
    """Six groups of three and two questions of none: a limit of seven holds no part of a group."""
    questions = ask(*(group for group in "abcdef" for _ in range(3)), "", "")
    drawn = set[str]()
    for seed in range(20):
        found = draw_questions(questions, 7, seed)
        assert list_ids(found) == sorted(list_ids(found), key=int)
        groups = [question.group for question in found if question.group]
        assert all(groups.count(group) == 3 for group in groups)
        assert 4 < len(found) <= 7
        drawn.update(list_ids(found))
    assert drawn == set(list_ids(questions))


def test_a_group_that_is_larger_than_the_limit_is_taken_alone() -> None:
    assert list_ids(draw_questions(ask("a", "a", "a", "b", "b", "b"), 1, 0)) in (["0", "1", "2"], ["3", "4", "5"])


def write(folder: Path, rows: list[dict[str, Any]], **more: Any) -> TaskOptions:
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {"questions": {"path": str(folder / "q.jsonl")}, "metric": "exact_match", "name": "pets"}
    return TaskOptions.model_validate(values | more)


def test_what_a_task_leaves_out(tmp_path: Path) -> None:
    rows = [{"id": n, "question": "Q", "answer": "a", "split": "val" if n else "test"} for n in range(6)]
    questions = {"path": str(tmp_path / "q.jsonl"), "split": ["val"]}
    task = open_task(write(tmp_path, rows, questions=questions, limit=3))
    assert (len(task.questions), task.count_left_out()) == (3, {"other_splits": 1, "limit": 2})
    assert open_task(write(tmp_path, rows)).count_left_out() == {}


def test_places_without_images_are_found_before_a_model_is_loaded(tmp_path: Path) -> None:
    rows = [{"id": n, "question": "Q", "answer": "a", "images": ["1.jpg"] * n} for n in (1, 2)]
    with pytest.raises(UsageError, match=r"^prompt: question 2 has 1 times <image>, but 2 images; leave it out of "):
        open_task(write(tmp_path, rows, prompt={"question": "<image> {question}"}))


def test_rows_that_are_no_demonstrations_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"id": 1, "question": "Q", "answer": "a"}, {"id": 2, "question": "Q"}]
    demonstrations = {"questions": {"path": str(tmp_path / "q.jsonl")}}
    with caplog.at_level(logging.WARNING, "shardloom"):
        open_task(write(tmp_path, rows, demonstrations=demonstrations))
    assert [record.getMessage() for record in caplog.records] == [
        "evaluate pets: 1 rows of demonstrations.questions are no questions, "
        "the first because it has 0 answers; exact_match needs 1"
    ]
