"""What pages are made of, a builder for each kind: training shards, conversations, runs, evaluations, ground truths."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.tasks.options import TaskOptions
from curation.tasks.predictions import Prediction, Predictions, encode_predictions
from schemas.storage.folder import Folder
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.published import take_in
from tests.pipelines.support.sets import annotation_set, caption_set, join

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SPOKEN = pa.struct([("role", pa.string()), ("content", pa.string())])


def make_training(folder: Path, count: int = 6, **options: Any) -> Path:
    (folder / "images").mkdir()
    write_shard(folder / "images/00000000.tar", [jpeg(number) for number in range(count)])
    images = f"{folder}/images/*.tar"
    captions = caption_set(annotation_set(images, folder / "annotations"), folder / "captions")
    join(images, captions, folder / "training", **options)
    return folder / "training"


def make_conversations(folder: Path) -> Path:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is <image> this?"},
        {"role": "assistant", "content": "<script>alert(1)</script>"},
    ]
    columns = {"id": pa.string(), "images": pa.list_(IMAGE), "conversation": pa.list_(SPOKEN)}
    row = {"id": "c", "images": [{"bytes": jpeg(1), "path": "a.jpg"}], "conversation": turns}
    pq.write_table(pa.Table.from_pylist([row], schema=pa.schema(list(columns.items()))), folder / "in.parquet")
    take_in("llava", str(folder / "in.parquet"), folder / "conversations")
    return folder / "conversations"


def make_run(folder: Path, lines: list[Any]) -> Path:
    (folder / "run").mkdir()
    (folder / "run/recipe.yaml").write_text("kind: train\nmodel: {name: <b>x</b>}\n")
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "run/metrics.jsonl").write_text("\n".join(text))
    return folder / "run"


def step(number: int) -> dict[str, Any]:
    losses = {"ocr": 8 / number, "<i>docs</i>": 9 / number, "bad": None}
    rates = {"tokens_per_second": 100.0 * number, "mfu": None, "gradient_norm": 1.0, "padding": 0.5}
    return {"step": number, "loss": 8.5 / number, "losses": losses, "lr": {"tower": 1e-4, "language": 1e-3}} | rates


ANSWERS = ["dog", "cat", "cow", "<b>sea</b>"]
RIGHT_BOXES = [f"[0, 0, 0.{number}, 1]" for number in range(1, 5)]


def make_evaluation(folder: Path, given: list[str], metric: str = "exact_match", **more: Any) -> Path:
    """Predictions of a task of four pictures, which answer it as given."""
    lines, right = [], RIGHT_BOXES if metric == "grounding" else ANSWERS
    for number, answer in enumerate(right):
        (folder / f"{number}.jpg").write_bytes(jpeg(number))
        lines.append({"id": f"q{number}", "image": f"{number}.jpg", "question": "What?", "answers": [answer]})
    (folder / "pets.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    task = TaskOptions.model_validate(
        {"name": "pets", "questions": {"path": str(folder / "pets.jsonl")}, "metric": metric}
    )
    rows = [
        Prediction(
            **{"id": f"q{number}", "question": "What?", "answers": (answer,), "choices": (), "group": ""},
            **{"category": "", "demonstrations": (), "generated": f" {text}", "prediction": text},
            **{"is_complete": True, "prompt_tokens": 5, "tokens": 2} | more,
        )
        for number, (answer, text) in enumerate(zip(right, given, strict=True))
    ]
    about = {"model": "run/model", "options": task.model_dump(mode="json")}
    found = Predictions("pets", 0, metric, about, rows, {"lost_image": 1})
    Folder(str(folder / "scores/predictions")).write("pets-0shot.parquet", encode_predictions(found))
    return folder / "scores"


SIZE = {"width": 64, "height": 48}
DOG = {"label": "dog", "bbox_xyxy": [6.4, 9.6, 19.2, 19.2]}  # where the set has one
CAT = {"label": "cat", "bbox_xyxy": [32, 24, 64, 48]}


def write_truth(folder: Path, entries: list[dict[str, Any]]) -> str:
    path = folder / "truth.jsonl"
    path.write_text("".join(json.dumps(SIZE | entry) + "\n" for entry in entries))
    return str(path)
