"""The tasks of `recipes/evaluate`: what each table evaluates, and that a copy of each reads its benchmarks' files."""

import contextlib
import json
from pathlib import Path

import pytest
import yaml
from braceexpand import braceexpand  # type: ignore[attr-defined]  # it has no types

from curation.scores.answers.registry import METRICS
from curation.tasks.images import QuestionImages
from curation.tasks.layouts.registry import LAYOUTS
from curation.tasks.options import QuestionSetOptions, TaskOptions
from curation.tasks.prompts import QuestionPrompter
from curation.tasks.question import ImageFile, Question
from curation.tasks.task_file import load_task, load_tasks
from pipelines.evaluate.open_task import OpenTask, open_task
from tests.conftest import jpeg
from tests.curation.tasks.support.published import write_annotations, write_published
from tests.test_recipes import RECIPES, run
from tests.training.support import tiny
from training.model.config import PromptOptions
from training.model.lmm import ResamplerLMM
from training.model.pretrained import save_pretrained
from training.model.tokens import load_tokenizer

TABLES = {
    "xgen_mm_table1": ("0,4,8", "vqav2 textvqa okvqa coco nocaps textcaps"),
    "xgen_mm_table2": (
        "0",
        "seed_img seed2 mmbench mmstar mme cvbench_2d cvbench_3d realworldqa mmmu mathvista scienceqa pope textvqa",
    ),
    "xgen_mm_table3": ("0", "blink qbench2 mantis"),
    "xgen_mm_table4": ("0", "vlguard hallusionbench pope seed_img mmbench mme mmstar"),
    "mm1_table3": ("0,8,16", "coco nocaps textcaps vqav2 textvqa vizwiz okvqa"),
    "xmodel_vlm_table5": ("0", "vizwiz scienceqa textvqa pope gqa mmbench mmbench_cn mmvet mme"),
}
"""Shots and columns of each table."""

TASKS = sorted(name for name in RECIPES if name.startswith(("evaluate/few_shot/", "evaluate/zero_shot/")))

QUESTIONS = {  # of the drawn files, and the figure that the table has
    "few_shot/coco": (1, "cider"),
    "few_shot/nocaps": (2, "cider"),
    "few_shot/okvqa": (2, "vqa_accuracy"),
    "few_shot/textcaps": (2, "cider"),
    "few_shot/textvqa": (1, "vqa_accuracy"),
    "few_shot/vizwiz": (2, "vqa_accuracy"),
    "few_shot/vqav2": (2, "vqa_accuracy"),
    "zero_shot/ai2d": (1, "multiple_choice"),
    "zero_shot/blink": (1, "multiple_choice"),
    "zero_shot/chartqa": (2, "relaxed_accuracy"),
    "zero_shot/cvbench_2d": (1, "multiple_choice"),
    "zero_shot/cvbench_3d": (1, "multiple_choice"),
    "zero_shot/docvqa": (1, "anls"),
    "zero_shot/gqa": (1, "exact_match"),
    "zero_shot/hallusionbench": (2, "accuracy"),
    "zero_shot/mantis": (2, "answer_rule"),
    "zero_shot/mathvista": (2, "answer_rule"),
    "zero_shot/mmbench": (3, "circular_accuracy"),
    "zero_shot/mmbench_cn": (3, "circular_accuracy"),
    "zero_shot/mme": (4, "normalised"),
    "zero_shot/mmmu": (2, "answer_rule"),
    "zero_shot/mmstar": (1, "multiple_choice"),
    "zero_shot/mmvet": (1, "mm_vet_rule"),
    "zero_shot/pope": (6, "f1"),
    "zero_shot/qbench2": (1, "multiple_choice"),
    "zero_shot/realworldqa": (2, "answer_rule"),
    "zero_shot/scienceqa": (1, "multiple_choice"),
    "zero_shot/seed2": (4, "multiple_choice"),
    "zero_shot/seed_img": (1, "multiple_choice"),
    "zero_shot/textvqa": (1, "vqa_accuracy"),
    "zero_shot/vizwiz": (2, "vqa_accuracy"),
    "zero_shot/vlguard": (2, "attack_success_rate"),
}


def draw_set(options: QuestionSetOptions) -> None:
    """Writes the files that a task names, in their published layout."""
    assert options.layout is not None
    for number, pattern in enumerate(braceexpand(options.path)):
        write_published(options.layout, Path(pattern.replace("*", str(number))))
    if options.annotations is not None:
        write_annotations(options.layout, Path(options.annotations))


def draw_images(questions: list[Question], folder: str | None) -> None:
    """Writes the images that questions name; one whose ending its row does not say is a JPEG."""
    for name in {image.name for one in questions for image in one.images if isinstance(image, ImageFile)}:
        assert folder is not None, "a task whose rows name images says where they are"
        path = Path(folder, name.replace(".*", ".jpg"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(0))


def draw_task(task: TaskOptions) -> OpenTask:
    """Writes all files of a task, and opens it."""
    draw_set(task.questions)
    if task.demonstrations is not None:
        draw_set(task.demonstrations.questions)
    opened = open_task(task)
    draw_images(opened.questions, task.questions.images)
    if task.demonstrations is not None and opened.demonstrations is not None:
        draw_images(opened.demonstrations.drawer.pool, task.demonstrations.questions.images)
    return opened


def check_images(questions: list[Question], images: QuestionImages) -> None:
    assert all(images.read(image)[:2] == b"\xff\xd8" for one in questions for image in one.images)


def test_every_benchmark_has_a_task() -> None:
    named = {load_task(str(RECIPES[name])).questions.layout for name in TASKS}
    assert named == set(LAYOUTS)
    assert {name.removeprefix("evaluate/") for name in TASKS} == QUESTIONS.keys()
    assert {f"evaluate/{table}" for table in TABLES} | set(TASKS) == {
        name for name in RECIPES if name.startswith("evaluate/")
    }


@pytest.mark.parametrize("table", TABLES)
def test_a_copy_of_a_table_reads_its_benchmarks(table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of its first lines, up to the model: every question has a prompt and its images."""
    monkeypatch.chdir(tmp_path)
    shots, names = TABLES[table]
    run("shardloom", "recipe", "copy", f"evaluate/{table}", "--output", "evaluate")
    assert "a valid recipe of the kind tasks" in run("shardloom", "recipe", "check", f"evaluate/{table}.yaml")
    tasks = load_tasks(f"evaluate/{table}.yaml")
    assert [task.name for task in tasks] == names.split()
    assert {",".join(map(str, task.shots)) for task in tasks} == {shots}
    for task in tasks:
        assert task.questions.path.startswith("evaluate/benchmarks/")
        opened = draw_task(task)
        check_images(opened.questions, opened.images)
        if opened.demonstrations is not None:
            check_images(opened.demonstrations.drawer.pool, opened.demonstrations.images)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_reads_the_published_files(name: str, tmp_path: Path) -> None:
    """Every question has a prompt; what a drawn file has beside questions is of other splits, or named."""
    (task,) = load_tasks(str(RECIPES[name]))
    with contextlib.chdir(tmp_path):
        (tmp_path / "tasks").mkdir()
        Path("tasks", "task.yaml").write_text(RECIPES[name].read_text())
        opened = draw_task(load_task("tasks/task.yaml"))
        check_images(opened.questions, opened.images)
    count, figure = QUESTIONS[name.removeprefix("evaluate/")]
    assert (len(opened.questions), next(iter(METRICS[task.metric].figures))) == (count, figure)
    reasons = [row.reason for row in opened.found.quarantined]
    assert reasons == (["missing_image"] if task.questions.layout == "scienceqa" else [])
    prompter = QuestionPrompter(task.prompt)
    for question in opened.questions:
        shot = prompter.build_question(question)
        images = [part for part in shot.question if not isinstance(part, str)]
        assert images == list(question.images)
        assert shot.question != tuple(images), "a text follows"


@pytest.mark.slow
def test_a_model_answers_every_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has learnt nothing, a token for each question: every question is a row, and every task has a figure."""
    monkeypatch.chdir(tmp_path)
    options = tiny.options(tiny.write_tokenizer(tmp_path / "tokenizer"))
    save_pretrained(ResamplerLMM.build(options), load_tokenizer(options), tmp_path / "model", prompts=PromptOptions())
    named = []
    for name in TASKS:
        short = name.removeprefix("evaluate/")
        Path("tasks", short).parent.mkdir(parents=True, exist_ok=True)
        values = yaml.safe_load(RECIPES[name].read_text()) | {"name": short.replace("/", "-")}
        Path("tasks", f"{short}.yaml").write_text(yaml.safe_dump(values))
        draw_task(load_task(f"tasks/{short}.yaml"))
        named.append(f"{short}.yaml")
    each = {"shots": [0], "max_new_tokens": 1}
    Path("tasks", "all.yaml").write_text(yaml.safe_dump({"kind": "tasks", "tasks": named, "each": each}))
    words = ["shardloom", "evaluate", "model", "model", "--task", "tasks/all.yaml", "--output", "scores", "--json"]
    found = json.loads(run(*words, "--device", "cpu"))["tasks"]
    counts = {name.replace("/", "-"): count for name, (count, _) in QUESTIONS.items()}
    assert {task["task"]: task["questions"] for task in found} == counts
    assert all(next(iter(task["figures"].values()))["value"] is not None for task in found)
