"""lmms-eval asks a model through the plug-in, and finds the scores and texts that `evaluate model` finds."""

import json
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import datasets
import pytest

from curation.tasks.predictions import Predictions
from pipelines.environments.python import get_completion_mark, get_interpreter
from pipelines.evaluate.model import evaluate_model
from pipelines.evaluate.model_scores import score_predictions
from schemas.output_set.recipe_file import dump_yaml
from tests.conftest import REPOSITORY, jpeg
from tests.training.support import tiny
from training.model.config import PromptOptions
from training.model.lmm import ResamplerLMM
from training.model.pretrained import save_pretrained
from training.model.tokens import load_tokenizer

ENVIRONMENT = "lmms-eval"
COUNT = 7
BATCH_SIZE = 3
ROWS = [{"id": str(n), "question": f"What is number {'I' * n}? ", "answer": "unknown"} for n in range(COUNT)]
TASKS: dict[str, dict[str, Any]] = {
    "files": {"max_new_tokens": 6, "stop": ["\n\n"]},
    "columns": {"max_new_tokens": 4, "beams": 3},
}
"""Of two kinds of files, the settings as a task of ours has them."""
UTILS = """
from PIL import Image

def open_image(doc):
    return [Image.open(doc["place"])]

def score(doc, results):
    return {"right": float(results[0].strip().lower().rstrip(".") == doc["answer"].strip().lower().rstrip("."))}
"""


def write_questions(folder: Path, answers: dict[str, list[str]]) -> None:
    """One task names image files in lines of JSON; the other has the images in a Parquet file."""
    rows = {task: [row | {"answer": answers[task][at]} for at, row in enumerate(ROWS)] for task in TASKS}
    named = [row | {"image": f"{row['id']}.jpg", "place": f"{folder}/{row['id']}.jpg"} for row in rows["files"]]
    (folder / "files.jsonl").write_text("".join(json.dumps(row) + "\n" for row in named))
    columns = {name: [row[name] for row in rows["columns"]] for name in ROWS[0]}
    columns["image"] = [{"bytes": jpeg(n), "path": None} for n in range(COUNT)]  # type: ignore[misc]
    features = datasets.Features({name: datasets.Value("string") for name in ROWS[0]} | {"image": datasets.Image()})
    datasets.Dataset.from_dict(columns, features=features).to_parquet(str(folder / "columns.parquet"))


def write_tasks(folder: Path) -> list[str]:
    """Writes the tasks for both programs; returns the files of ours."""
    (folder / "utils.py").write_text(UTILS)
    paths = []
    for name, settings in TASKS.items():
        questions = {"path": str(next(folder.glob(f"{name}.[jp]*"))), "columns": {"images": "image"}}
        task = {"name": name, "questions": questions, "metric": "exact_match"} | settings
        (folder / f"{name}.task").write_bytes(dump_yaml(task))
        paths.append(str(folder / f"{name}.task"))
        kind = "json" if name == "files" else "parquet"
        visual = "!function utils.open_image" if name == "files" else '"image"'
        generation = {
            "max_new_tokens": settings["max_new_tokens"],
            "until": settings.get("stop", []),
            "num_beams": settings.get("beams", 1),
            "do_sample": False,
        }
        (folder / f"{name}.yaml").write_text(
            f"task: {name}\n"
            f"dataset_path: {kind}\n"
            f"dataset_kwargs: {json.dumps({'data_files': {'test': questions['path']}})}\n"
            "test_split: test\n"
            "output_type: generate_until\n"
            f"doc_to_visual: {visual}\n"
            'doc_to_text: "question"\n'
            'doc_to_target: "answer"\n'
            f"generation_kwargs: {json.dumps(generation)}\n"
            "process_results: !function utils.score\n"
            "metric_list:\n  - metric: right\n    aggregation: mean\n    higher_is_better: true\n"
        )
    return paths


def write_distribution(folder: Path) -> None:
    """The metadata of the installed package, whose entry points are those of `pyproject.toml`."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    place = folder / f"shardloom-{project['version']}.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: shardloom\nVersion: {project['version']}\n")
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())]
    (place / "entry_points.txt").write_text("\n".join(lines) + "\n")


def ask_lmms_eval(folder: Path) -> dict[str, Any]:
    """Runs lmms-eval on both tasks; returns its scores and texts by task."""
    write_distribution(folder / "site")
    arguments = ["--model", "shardloom", "--model_args", f"pretrained={folder / 'model'}", "--device", "cpu"]
    arguments += ["--tasks", ",".join(TASKS), "--include_path", folder, "--batch_size", BATCH_SIZE]
    arguments += ["--output_path", folder / "logs", "--log_samples"]
    home = {"HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(get_interpreter(ENVIRONMENT)), "-m", "lmms_eval", *map(str, arguments)],
        cwd=folder,
        env=os.environ | home | {"PYTHONPATH": f"{folder / 'site'}:{REPOSITORY}"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    (results,) = (folder / "logs").rglob("*results.json")
    found = json.loads(results.read_text())["results"]
    texts = {}
    for task in TASKS:
        (samples,) = (folder / "logs").rglob(f"*samples_{task}.jsonl")
        lines = sorted(map(json.loads, samples.read_text().splitlines()), key=lambda line: int(line["doc_id"]))
        texts[task] = ["".join(line["filtered_resps"]) for line in lines]  # a text, or a list of the only one
    return {task: (found[task]["right,none"], texts[task]) for task in TASKS}


@pytest.mark.slow
@pytest.mark.skipif(not get_completion_mark(ENVIRONMENT).exists(), reason=f"shardloom engines --build {ENVIRONMENT}")
def test_scores_are_those_of_evaluate_model(tmp_path: Path) -> None:
    """Every other right answer is what the model says, so that its accuracy is four of seven, in fp32 on both sides."""
    options = tiny.options(tiny.write_tokenizer(tmp_path / "tokenizer"))
    save_pretrained(ResamplerLMM.build(options), load_tokenizer(options), tmp_path / "model", prompts=PromptOptions())
    for n in range(COUNT):
        (tmp_path / f"{n}.jpg").write_bytes(jpeg(n))
    write_questions(tmp_path, {task: ["unknown"] * COUNT for task in TASKS})
    paths = write_tasks(tmp_path)

    def evaluate(output: str) -> dict[str, Predictions]:
        found = evaluate_model(str(tmp_path / "model"), paths, str(tmp_path / output), BATCH_SIZE, "cpu")
        return {predictions.task: predictions for predictions in found}

    said = {task: [row.prediction for row in found.rows] for task, found in evaluate("first").items()}
    assert all(all(texts) for texts in said.values()), "an answer is empty"
    answers = {task: [text if n % 2 == 0 else "unknown" for n, text in enumerate(said[task])] for task in TASKS}
    write_questions(tmp_path, answers)
    ours = evaluate("second")
    theirs = ask_lmms_eval(tmp_path)
    for score in score_predictions(list(ours.values())).tasks:
        right, texts = theirs[score.task]
        assert right == score.figures["exact_match"].value == pytest.approx(4 / COUNT)
        assert [text.strip() for text in texts] == [row.prediction for row in ours[score.task].rows]
