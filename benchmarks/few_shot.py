"""Shows that few-shot prompts reach a model: one that knows its scenes by heart, and itself with swapped images.

    nice -n 19 python -m benchmarks.few_shot OUTPUT [--scenes 16] [--documents 200] [--steps 200] [--seed 0]

The model of `recipes/train/tiny/few_shot.yaml` trains on documents of nine drawn scenes with their captions, in random
order, until it knows them by heart. It is then asked for the caption of each scene with 0, 4 and 8 demonstrations, once
with the scene's own image and once with the next scene's. All captions differ, so a model that does not look at the
image before the question, or takes a demonstration's, is wrong. It prints a table of accuracy (exact match) and CIDEr
with 95 % intervals, and ends with 1 where two intervals meet.
"""

import argparse
import json
import random
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.captioned_set import encode_jpeg, write_document_set
from benchmarks.tiny_training import RECIPES
from curation.demo_detector.scenes import draw_scene
from pipelines.evaluate.model import evaluate_model
from pipelines.evaluate.model_scores import TaskScore, score_predictions
from schemas.output_set.recipe_file import dump_yaml
from training.loop import train
from training.recipe import load_train_recipe

SIDE = 112  # pixels, the tower's own size
QUESTION = "What is shown?"
SHOTS = [0, 4, 8]
BATCH_SIZE = 16  # questions
METRICS = ("exact_match", "cider")
SOURCES = ("own", "swapped")

Captioned = tuple[Image.Image, str]


def main() -> None:
    """Draws, trains, evaluates and prints the table."""
    options = read_options()
    output: Path = options.output
    scenes = draw_scenes(options.scenes, options.seed)
    if not (output / "documents").exists():
        write_document_set(output / "documents", make_documents(scenes, options.documents, options.seed))
    started = time.monotonic()
    model = train_model(output, options.steps, options.seed)
    print(f"trained {options.steps} steps in {time.monotonic() - started:.0f} s", flush=True)
    scores = {source: evaluate(output, model, scenes, source) for source in SOURCES}
    print("\n".join(format_table(scores)))
    sys.exit(0 if all(map(is_apart, scores["own"], scores["swapped"])) else 1)


def read_options() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    for name, default in (("scenes", 16), ("documents", 200), ("steps", 200), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def draw_scenes(count: int, seed: int) -> list[Captioned]:
    """Draws scenes of which no two have the same caption."""
    found: dict[str, Image.Image] = {}
    rng = random.Random(f"{seed}/scenes")
    while len(found) < count:
        scene = draw_scene(rng, (SIDE, SIDE))
        found.setdefault(scene.caption, scene.image)
    return [(image, caption) for caption, image in found.items()]


def make_documents(scenes: list[Captioned], count: int, seed: int) -> list[list[Captioned]]:
    """Makes documents of one scene more than the most demonstrations, each scene with question and caption."""
    rng = random.Random(f"{seed}/documents")
    return [
        [(image, f"{QUESTION} {caption}") for image, caption in rng.sample(scenes, SHOTS[-1] + 1)] for _ in range(count)
    ]


def train_model(output: Path, steps: int, seed: int) -> Path:
    """Trains the model of the recipe, or resumes its run, and returns the folder of the export."""
    values: dict[str, Any] = {
        "data.sources": {"documents": [str(output / "documents")]},
        "data.weights": {"documents": 1},
        "data.repeats": {"documents": None},
        "data.texts": {},
        "data.seed": seed,
        "data.cache": str(output / "tables"),
        "model.tokenizer": str(RECIPES / "tiny/tokenizer.json"),
        "model.seed": seed,
        "seed": seed,
        "steps": steps,
        "run.device": "cpu",
    }
    overrides = [f"{key}={json.dumps(value)}" for key, value in values.items()]
    result = train(
        load_train_recipe(str(RECIPES / "tiny/few_shot.yaml"), overrides, str(output / "run")), resume="auto"
    )
    if result.model_folder is None:  # it was stopped by a signal, with a checkpoint
        raise KeyboardInterrupt
    return result.model_folder


def evaluate(output: Path, model: Path, scenes: list[Captioned], source: str) -> list[TaskScore]:
    """Evaluates with each number of shots, with each scene's own image or the next scene's, by both metrics."""
    task = write_task(output / "tasks", scenes, source)
    place = output / f"scores-{source}-{time.time_ns()}"
    found = evaluate_model(str(model), [task], str(place), BATCH_SIZE, "cpu")
    return score_predictions([replace(one, metric=metric) for metric in METRICS for one in found]).tasks


def write_task(folder: Path, scenes: list[Captioned], source: str) -> str:
    """Writes a task, whose demonstrations always have their own images. Returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, shift in (("own", 0), ("swapped", 1)):
        images = [f"{(number + shift) % len(scenes)}.jpg" for number in range(len(scenes))]
        rows = [
            {"id": f"{number}", "image": image, "question": QUESTION, "answers": [caption]}
            for number, (image, (_, caption)) in enumerate(zip(images, scenes, strict=True))
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for number, (image, _) in enumerate(scenes):
        (folder / f"{number}.jpg").write_bytes(encode_jpeg(image))
    values = {
        "questions": {"path": f"{source}.jsonl"},
        "demonstrations": {"questions": {"path": "own.jsonl"}},
        "shots": SHOTS,
        "max_new_tokens": 40,  # the longest caption has some 30
        "metric": METRICS[0],
    }
    (folder / f"{source}.yaml").write_bytes(dump_yaml(values))
    return str(folder / f"{source}.yaml")


def is_apart(own: TaskScore, swapped: TaskScore) -> bool:
    """Returns whether the interval with own images is above that with swapped ones."""
    low, high = own.figures[own.metric].low, swapped.figures[own.metric].high
    return low is not None and high is not None and low > high


def format_table(scores: dict[str, list[TaskScore]]) -> list[str]:
    """Returns the lines of a Markdown table, a row for each figure and number of shots."""
    lines = ["| figure | shots | own image | swapped image |", "|---|---|---|---|"]
    for pair in zip(*(scores[source] for source in SOURCES), strict=True):
        cells = []
        for task in pair:
            figure = task.figures[task.metric]
            cells.append(" to ".join(f"{part:.3f}" for part in (figure.low, figure.high) if part is not None))
            cells[-1] = f"{figure.value:.3f} ({cells[-1]})"
        lines.append(f"| {pair[0].metric} | {pair[0].shots} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
