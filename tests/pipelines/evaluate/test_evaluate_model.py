"""`evaluate model` from the command line to the rows, of models of some thousand parameters."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.nn import functional

from curation.tasks.predictions import encode_predictions, read_predictions
from pipelines.cli.app import main
from schemas.output_set.recipe_file import dump_yaml
from schemas.storage.folder import Folder
from tests.pipelines.evaluate.conftest import Run
from tests.training.support import runs, tiny
from tests.training.support.tiny import pack, picture
from training.batch import IGNORE_INDEX
from training.model.config import PromptOptions
from training.model.lmm import ResamplerLMM
from training.model.pretrained import save_pretrained
from training.model.tokens import load_tokenizer

ANSWERS = ["a red cat", "two blue dogs", "nothing", "a map of Rome", "the sea", "snow", "a red kite", "seven"]
PROMPT = "What is it? "
COUNT = len(ANSWERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export in `model` that has learnt nothing, eight pictures, and a task of them."""
    place = tmp_path_factory.mktemp("evaluated")
    write_pictures(place)
    options = tiny.options(tiny.write_tokenizer(place / "tokenizer"))
    save_pretrained(ResamplerLMM.build(options), load_tokenizer(options), place / "model", prompts=PromptOptions())
    write_task(place, "pets", [(n, n) for n in range(COUNT)], max_new_tokens=3)
    return place


def write_pictures(folder: Path) -> None:
    for n in range(COUNT):
        Image.fromarray(picture(n)[0].permute(1, 2, 0).numpy()).save(folder / f"{n}.png")


def write_task(folder: Path, file: str, pairs: list[tuple[int, int]], **more: Any) -> str:
    """A task of questions by their number and that of their image; its file."""
    rows = [{"id": str(n), "image": f"{image}.png", "question": PROMPT, "answers": [ANSWERS[n]]} for n, image in pairs]
    (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {
        "questions": {"path": f"{file}.jsonl"},
        "prompt": {"question": "{question}", "answer": "{answer}"},
        "metric": "exact_match",
        "max_new_tokens": 15,
    }
    (folder / f"{file}.yaml").write_bytes(dump_yaml(values | more))
    return str(folder / f"{file}.yaml")


@pytest.fixture(scope="module")
def evaluated(folder: Path) -> Path:
    """The folder, with the predictions of the model in `out`, and in `best` those of one that knows all answers."""
    arguments = ["--task", str(folder / "pets.yaml"), "--output", str(folder / "out"), "--batch-size", "3"]
    with pytest.raises(SystemExit) as done:
        main(["evaluate", "model", str(folder / "model"), *arguments, "--device", "cpu", "--json"])
    assert done.value.code == 0
    known = read_predictions(Folder(str(folder / "out" / "predictions")), "pets-0shot.parquet")
    rows = [replace(row, prediction=row.answers[0]) for row in known.rows]
    best = replace(known, rows=rows, about={**known.about, "model": "best"})
    Folder(str(folder / "best" / "predictions")).write("pets-0shot.parquet", encode_predictions(best))
    return folder


def test_every_prediction_is_a_row(evaluated: Path) -> None:
    rows = pq.read_table(evaluated / "out" / "predictions" / "pets-0shot.parquet").to_pylist()
    assert [(row["id"], row["question"], row["answers"]) for row in rows] == [
        (str(n), PROMPT, [answer]) for n, answer in enumerate(ANSWERS)
    ]
    assert all(row["prompt_tokens"] == tiny.TOKENS_PER_TILE + len(PROMPT) and row["tokens"] == 3 for row in rows)
    assert all(row["prediction"] == row["generated"].strip() for row in rows)
    assert pq.read_table(evaluated / "out" / "quarantine" / "pets-0shot.parquet").num_rows == 0


def test_scores_are_computed_again_from_rows_alone(evaluated: Path, run: Run) -> None:
    code, found, _ = run("--from-rows", "out", "--json")
    assert code == 0
    assert found == json.loads((evaluated / "out" / "scores.json").read_text())
    assert found == {
        "what": "model",
        "interval": {
            "confidence": 0.95,
            "draws": 1000,
            "seed": 0,
            "method": "percentile bootstrap of questions",
        },
        "tasks": [
            {
                "name": "pets-0shot",
                "task": "pets",
                "shots": 0,
                "metric": "exact_match",
                "model": str(evaluated / "model"),
                "questions": COUNT,
                "quarantined": {},
                "left_out": {},
                "errors": 0,
                "cut": COUNT,
                "seed": None,
                "scored_by": "rule",
                "without_verdict": {},
                "figures": {"exact_match": {"value": 0.0, "low": 0.0, "high": 0.0}},
                "differences": None,
                "leaks": None,
            }
        ],
    }


@pytest.mark.usefixtures("evaluated")
def test_two_models_on_the_same_questions(run: Run) -> None:
    code, found, _ = run("--from-rows", "best", "--against", "out", "--json")
    assert code == 0
    (task,) = found["tasks"]
    assert task["model"] == "best"
    assert task["figures"] == {"exact_match": {"value": 1.0, "low": 1.0, "high": 1.0}}
    assert task["differences"] == {"exact_match": {"value": 1.0, "low": 1.0, "high": 1.0}}
    code, out, _ = run("--from-rows", "best", "--against", "out")
    assert code == 0
    words = " ".join(out.replace("─", "").split())
    assert words.startswith(
        "task figure shots questions score difference pets exact_match 0 8 100.0 +100.0 100-100 +100.0"
    )
    assert "from 1,000 bootstrap resamples of the questions difference: from the other model" in words
    assert words.endswith("pets-0shot: 8 answers cut by max_new_tokens")


@pytest.mark.usefixtures("evaluated")
def test_limits(run: Run) -> None:
    limit = ("--fail-under", "pets-0shot.exact_match=0.9")
    assert run("--from-rows", "best", *limit)[0] == 0
    code, out, err = run("--from-rows", "out", *limit)
    assert code == 1
    assert "pets" in out
    assert err == "error: --fail-under: pets-0shot.exact_match is 0, under 0.9\n"
    code, _, err = run("--from-rows", "out", "--fail-under", "exact_match=1")
    assert (code, err) == (2, "error: --fail-under: there is no score exact_match, only pets-0shot.exact_match\n")


def test_few_shots_odd_rows_and_a_limit(folder: Path, run: Run, tmp_path: Path) -> None:
    """Demonstrations are those of the seed; rows in = predictions + quarantined rows."""
    write_task(folder, "train", [(n, n) for n in range(COUNT)])
    demonstrations = {"questions": {"path": "train.jsonl"}, "seed": 5}
    more: dict[str, Any] = {"demonstrations": demonstrations, "metric": "cider", "max_new_tokens": 2}
    path = write_task(folder, "few", [(n, n) for n in range(4)], shots=[0, 2], **more)
    with (folder / "few.jsonl").open("a") as file:
        file.write('{"id": "9", "image": "none.png", "answers": ["x"]}\n{"id": "10"}\n')
    limited = write_task(folder, "limited", [(n, n) for n in range(COUNT)], limit=3, seed=1, **more)
    code, found, _ = run("model", "--task", path, "--task", limited, "--output", str(tmp_path / "out"), "--json")
    assert code == 0
    assert [(task["name"], task["questions"], task["seed"]) for task in found["tasks"]] == [
        ("few-0shot", 4, 5),
        ("few-2shot", 4, 5),
        ("limited-0shot", 3, 5),
    ]
    assert [task["quarantined"] for task in found["tasks"][:2]] == [{"lost_image": 1, "malformed_row": 1}] * 2
    assert [task["left_out"] for task in found["tasks"]] == [{}, {}, {"limit": 5}]
    rows = pq.read_table(tmp_path / "out" / "predictions" / "few-2shot.parquet").to_pylist()
    assert all(len(row["demonstrations"]) == 2 and row["id"] not in row["demonstrations"] for row in rows)
    quarantined = pq.read_table(tmp_path / "out" / "quarantine" / "few-2shot.parquet").to_pylist()
    assert [row["stage"] for row in quarantined] == ["read", "predict"]


def test_a_list_of_tasks(folder: Path, run: Run, tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_task(folder, name, [(0, 0)])
    (folder / "list.yaml").write_text("kind: tasks\ntasks: [first.yaml, second.yaml]\neach: {max_new_tokens: 1}\n")
    code, found, _ = run("model", "--task", "list.yaml", "--output", str(tmp_path / "out"), "--json")
    assert code == 0
    assert [(task["name"], task["questions"]) for task in found["tasks"]] == [("first-0shot", 1), ("second-0shot", 1)]
    code, _, err = run("model", "-t", "list.yaml", "-t", "first.yaml", "--output", str(tmp_path / "other"))
    assert (code, err) == (2, "error: --task: two tasks have the name first: set another in one of the files\n")


@pytest.mark.slow
def test_two_ranks_write_what_one_process_does(folder: Path, run: Run, tmp_path: Path) -> None:
    """Of seven batches, the last one short, four are the first rank's; an image in one of the other's is lost."""
    write_task(folder, "shots", [(n, n) for n in range(COUNT)])
    demonstrations = {"questions": {"path": "shots.jsonl"}}
    more: dict[str, Any] = {"shots": [0, 2], "demonstrations": demonstrations, "max_new_tokens": 3}
    path = write_task(folder, "ranks", [(n, n) for n in range(COUNT)], **more)
    lines = (folder / "ranks.jsonl").read_text().splitlines()
    lines += [line.replace('"id": "', '"id": "again-') for line in lines[:4]] + ['{"id": "no answer"}']
    lines.insert(2, '{"id": "lost", "image": "none.png", "answers": ["x"]}')
    (folder / "ranks.jsonl").write_text("\n".join(lines))
    arguments = ["model", "--task", path, "--batch-size", "2", "--device", "cpu", "--json", "--output"]
    code, found, _ = run(*arguments, str(tmp_path / "one"))
    assert code == 0
    assert [task["questions"] for task in found["tasks"]] == [12, 12]
    ranks = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    command = [*ranks, "pipelines.evaluate", "model", *arguments, str(tmp_path / "two")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=folder, env=runs.ENVIRONMENT)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == found
    names = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(names) == 6
    assert names == sorted(path.relative_to(tmp_path / "two") for path in (tmp_path / "two").rglob("*.*"))
    for name in names:
        if name.name != "report.html":  # which shows the name of its folder
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.slow
def test_few_shots_of_a_model_that_has_learnt_its_pictures(run: Run, tmp_path: Path) -> None:
    """With its own pictures it is right, with swapped ones wrong: accuracy and CIDEr have intervals that are apart."""
    write_pictures(tmp_path)
    model = train_on_pictures(tmp_path)
    right, swapped = [(n, n) for n in range(COUNT)], [(n, (n + 1) % COUNT) for n in range(COUNT)]
    write_task(tmp_path, "train", right)
    scores = {}
    for kind, pairs in (("right", right), ("swapped", swapped)):
        tasks = []
        for metric in ("exact_match", "cider"):
            more = {"shots": [0, 4, 7], "demonstrations": {"questions": {"path": "train.jsonl"}}}
            tasks += ["--task", write_task(tmp_path, f"{metric}-{kind}", pairs, metric=metric, **more)]
        code, found, _ = run(str(model), *tasks, "--output", str(tmp_path / kind), "--json")
        assert code == 0
        scores[kind] = [task["figures"][task["metric"]] for task in found["tasks"]]
    assert len(scores["right"]) == 6
    for own, other in zip(scores["right"], scores["swapped"], strict=True):
        assert own["low"] > other["high"]


def train_on_pictures(folder: Path) -> Path:
    """An export that has been trained on documents of all pictures, in random order, until it names each."""
    options = tiny.options(tiny.write_tokenizer(folder / "tokenizer"))
    model, tokenizer = ResamplerLMM.build(options), load_tokenizer(options)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3, weight_decay=0)
    numbers = torch.Generator().manual_seed(0)
    for _ in range(600):
        documents: list[tiny.Sample] = []
        for _ in range(2):
            order = torch.randperm(COUNT, generator=numbers).tolist()
            parts = [(picture(n), PROMPT + ANSWERS[n], tokenizer.special.end_of_chunk) for n in order]
            documents.append([part for shot in parts for part in shot])
        batch = pack([[document] for document in documents])
        at = batch.labels != IGNORE_INDEX
        loss = functional.cross_entropy(model(batch, at), batch.labels[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.02:
            break
    save_pretrained(model.eval(), tokenizer, folder / "model", prompts=PromptOptions())
    return folder / "model"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--task", "pets.yaml", "--output", "o"], "evaluate model: no folder nowhere: pass a run, an"),
        (["model", "--output", "o"], "evaluate model: pass --task, a task file, and --output, a new folder for"),
        (["model", "--task", "pets.yaml"], "evaluate model: pass --task, a task file, and --output, a new folder"),
        (["tokenizer", "--task", "pets.yaml", "--output", "o"], "tokenizer is no model: pass an export, a checkpoint"),
        (["model", "--task", "pets.yaml", "--output", "out"], "--output: out holds predictions already"),
        (["model", "--task", "pets.yaml", "-t", "pets.yaml", "-o", "o"], "--task: two tasks have the name pets:"),
        (["model", "--task", "none.yaml", "--output", "o"], "cannot read recipe none.yaml: No such file"),
        (["--from-rows", "out", "--leaks", "x"], "--leaks: there is no folder x: pass a set of training shards"),
        (["model", "--from-rows", "out"], "--from-rows scores predictions that are there: pass no model, task"),
        (["--from-rows", "model"], "model holds no predictions: pass the output folder of `evaluate model`"),
        (["--from-rows", "out", "--against", "tokenizer"], "tokenizer holds no predictions"),
        (["--from-rows", "out", "--truth", "x"], "--truth and --index are for boxes and ocr, not for model"),
    ],
)
def test_wrong_use_is_one_line(evaluated: Path, run: Run, arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert not (evaluated / "o").exists()
