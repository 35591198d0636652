"""Task files: paths, defaults, and what is refused."""

from pathlib import Path

import pytest

from curation.tasks.options import ReadOutOptions
from curation.tasks.task_file import load_task, load_tasks
from schemas.errors import UsageError

LEAST = "questions: {path: val.jsonl}\nmetric: exact_match\n"


def write(folder: Path, text: str) -> str:
    (folder / "pets.yaml").write_text(text)
    return str(folder / "pets.yaml")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    text = LEAST + "demonstrations: {questions: {path: train.jsonl, images: train.tar}}\nshots: [0, 4]\n"
    task = load_task(write(tmp_path, text))
    assert (task.name, task.shots) == ("pets", [0, 4])
    assert task.questions.path == f"{tmp_path}/val.jsonl"
    assert task.demonstrations is not None
    assert task.demonstrations.questions.images == f"{tmp_path}/train.tar"
    assert load_task(write(tmp_path, LEAST + "name: dogs\n")).name == "dogs"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("metric: cider\n", "the key 'metric' occurs twice"),
        ("shots: [4]\n", "demonstrations: shots need a set of questions to draw from, of a training split"),
        ("prompt: {text_only_shots: 2}\n", "demonstrations: shots need a set of questions to draw from"),
        ("answer_by: perplexity\n", "answer_by: perplexity is for metrics of choices: multiple_choice"),
        ("beams: 0\n", "beams: input should be greater than 0, not 0"),
        ("prompt: {question: '{q}'}\n", "unknown field {q}: use one of question, choices"),
        ("prompt: {answer: '{'}\n", "the brace at character 1 has no partner"),
        ("name: a/b\n", "name: "),
        ("shots: []\n", "shots is empty"),
        ("colour: red\n", "unknown key colour"),
        ("kind: train\n", "pets.yaml is of the kind 'train', not task"),
        ("judge: endpoint\n", "judge: "),
        ("judge: {settings: {model: m}}\n", "judge.prompt"),
        ("judge: {settings: {model: m}, prompt: 'Is it right?'}\n", "it does not show the {prediction}"),
        ("judge: {settings: {key: x}, prompt: '{prediction}'}\n", "unknown key judge.settings.key"),
        ("judge: {settings: {}, prompt: '{prediction}', labels: {right: 2}}\n", "judge.labels.right"),
        ("judge: {settings: {}, prompt: '{prediction}', labels: {no: 0}}\n", "YAML reads a label as False, not as a"),
        ("judge: {settings: {}, prompt: '{prediction}', labels: {1: 1}}\n", "YAML reads a label as 1, not as a text"),
        ("judge: {settings: {}, prompt: '{prediction}', labels: {not right: 0}}\n", "'not right' is not one word"),
    ],
)
def test_wrong_files(tmp_path: Path, more: str, message: str) -> None:
    with pytest.raises(UsageError) as found:
        load_task(write(tmp_path, LEAST + more))
    assert message in str(found.value)


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ("layout: mmbnech", "there is no layout 'mmbnech', only coco, coco_captions, textcaps, "),
        ("annotations: a.json", "annotations are for the layouts vqav2 and okvqa"),
        ("layout: gqa, annotations: a.json", "annotations are for the layouts vqav2 and okvqa"),
        ("split: test", "split: input should be a valid list, not 'test'"),
    ],
)
def test_wrong_layouts(tmp_path: Path, questions: str, message: str) -> None:
    with pytest.raises(UsageError) as found:
        load_task(write(tmp_path, f"questions: {{path: x.json, {questions}}}\nmetric: exact_match\n"))
    assert message in str(found.value)


def test_a_task_over_a_base(tmp_path: Path) -> None:
    """Paths are relative to the file that names them."""
    write(tmp_path, LEAST + "prompt: {question: 'Q: {question}', answer: '{answer}'}\n")
    (tmp_path / "below").mkdir()
    path = tmp_path / "below" / "cats.yaml"
    path.write_text("kind: task\nbase: ../pets.yaml\nquestions: {images: cats}\nprompt: {question: '{question}?'}\n")
    task = load_task(str(path))
    assert (task.name, task.prompt.question, task.prompt.answer) == ("cats", "{question}?", "{answer}")
    assert (task.questions.path, task.questions.images) == (f"{tmp_path}/val.jsonl", f"{tmp_path}/below/cats")


def test_a_list_of_tasks(tmp_path: Path) -> None:
    write(tmp_path, LEAST + "max_new_tokens: 7\nprompt: {answer: '{answer}'}\n")
    (tmp_path / "dogs.yaml").write_text(LEAST)
    (tmp_path / "lists").mkdir()
    path = tmp_path / "lists" / "all.yaml"
    each = "{limit: 5, prompt: {question: 'Q'}, questions: {images: here}}"
    path.write_text(f"kind: tasks\ntasks: [../pets.yaml, ../dogs.yaml]\neach: {each}\n")
    pets, dogs = load_tasks(str(path))
    assert (pets.name, pets.limit, pets.max_new_tokens, pets.prompt.question) == ("pets", 5, 7, "Q")
    assert (pets.prompt.answer, pets.questions.path) == ("{answer}", f"{tmp_path}/val.jsonl")
    assert (dogs.name, dogs.limit, dogs.max_new_tokens) == ("dogs", 5, 20)
    assert dogs.questions.images == f"{tmp_path}/lists/here"
    assert load_tasks(str(tmp_path / "pets.yaml")) == [load_task(str(tmp_path / "pets.yaml"))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks: []\n", "all.yaml: tasks is empty"),
        ("tasks: [none.yaml]\n", "cannot read recipe "),
        ("tasks: [pets.yaml]\neach: {shotz: 1}\n", "pets.yaml: unknown key shotz"),
        ("tasks: [pets.yaml]\nshots: [0]\n", "all.yaml: unknown key shots"),
        ("tasks: [all.yaml]\n", "all.yaml is of the kind 'tasks', not task"),
        ("tasks: [pets.yaml]\neach: 3\n", "each: input should be a mapping, not 3"),
    ],
)
def test_wrong_lists(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, LEAST)
    (tmp_path / "all.yaml").write_text("kind: tasks\n" + text)
    with pytest.raises(UsageError) as found:
        load_tasks(str(tmp_path / "all.yaml"))
    assert message in str(found.value)


def test_a_judge(tmp_path: Path) -> None:
    """What it is sent is a text."""
    judge = load_task(
        write(tmp_path, LEAST + "judge: {settings: {model: m}, prompt: '{prediction}', labels: {'Yes': 1}}\n")
    ).judge
    assert judge is not None
    assert (judge.engine, judge.gives, judge.labels, judge.allow_hosts) == ("endpoint", "score", {"yes": 1.0}, [])
    assert (judge.settings.model, judge.settings.send_image) == ("m", False)


def test_choices_need_no_beams(tmp_path: Path) -> None:
    text = "questions: {path: x}\nmetric: multiple_choice\nanswer_by: perplexity\nbeams: 3\n"
    with pytest.raises(UsageError, match=r"beams: answer_by: perplexity generates no answer: leave out one of the two"):
        load_task(write(tmp_path, text))


def test_unknown_metric(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"metric: .*there is no metric 'bleu', only cider, vqa_accuracy, "):
        load_task(write(tmp_path, "questions: {path: x}\nmetric: bleu\n"))


def test_reading_out() -> None:
    assert ReadOutOptions().read("  a cat \n") == "a cat"
    assert ReadOutOptions(cut_at=["Question", ", "], remove=['"']).read('"red", blue Question: x') == "red"
    assert ReadOutOptions(cut_at=["\n"]).read("\n\nred\nblue") == "red"
    assert ReadOutOptions(cut_at=[", "]).read("red, blue, green") == "red"
