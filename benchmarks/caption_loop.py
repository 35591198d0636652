"""Runs the loop at the demo's scale: a tiny model learns stage-1 captions and captions scenes that it has not seen.

    nice -n 19 python -m benchmarks.caption_loop OUTPUT [--seeds 3] [--scenes 3000] [--unseen 200] [--steps 2000]

For each seed, a stand-in server captions the scenes, a fifth of the captions with a planted error, and the model of
`recipes/train/tiny.yaml` learns to write them: once with OCR lines and boxes in its prompt, once from the image alone.
Both models then caption the unseen scenes as the engine `shardloom`. Their captions are checked against what RapidOCR
and the demonstration detector found there, as `evaluate captions` does, and against what was drawn.

Scenes to learn from have the drawn lines and boxes, because the engines would take 0.4 s for each; the unseen
ones have those of the engines. The seeds differ in the errors, the weights at the start and the order of the samples;
the scenes are the same. It resumes in OUTPUT, and writes OUTPUT/results.json after each seed.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.caption_scenes import DRAWN_BOXES, DRAWN_FILE, DRAWN_OCR, MODEL, Scene, serve_captions, write_scenes
from benchmarks.tiny_training import load_tiny_recipe
from curation.demo_detector.vocabulary import LABELS
from curation.engines.captions.prompts import PromptTemplate, parse_prompt
from curation.engines.registry import ENGINES
from curation.faithfulness.check import check_caption
from curation.faithfulness.evidence import Evidence, FoundBox, collect_evidence
from curation.scores.faithfulness import FaithfulnessCounts, FaithfulnessScore
from pipelines.annotate.run import annotate
from pipelines.demo.flow import VOCABULARY_FILE
from pipelines.ingest.run import ingest
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.recipes.base import load_recipe
from pipelines.recipes.ingest import IngestRecipe
from schemas.output_set.layout import DATA
from schemas.storage.parquet import read_table

TASK = "Describe this image in detail."
PROMPTS = {"grounded": f"Text:\n{{ocr}}\nObjects:\n{{boxes}}\n{TASK}", "image_alone": TASK}
ERROR_RATE = 0.2  # of the stage-1 captions
STAGE_1 = "stage_1"
SEEN, UNSEEN = "scenes", "unseen"
MAX_NEW_TOKENS = 80  # the longest stage-1 caption has some 40
SEQUENCE = 512  # positions: the longest prompt has some 200, so two or three conversations


def main() -> None:
    """Runs all seeds, and prints the table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    for name, default in (("seeds", 3), ("scenes", 3000), ("unseen", 200), ("steps", 2000), ("workers", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    ENGINES.trust(*(f"benchmarks.caption_scenes:{name}" for name in ("DRAWN_OCR", "DRAWN_BOXES")))
    output: Path = asked.output
    output.mkdir(parents=True, exist_ok=True)
    (output / VOCABULARY_FILE).write_text("".join(f"{word}\n" for word in LABELS))
    started = time.monotonic()
    sets = [draw_set(output, *one, asked.workers) for one in ((SEEN, 0, asked.scenes), (UNSEEN, 1, asked.unseen))]
    seconds = {"scenes": time.monotonic() - started}
    checked: dict[str, FaithfulnessCounts] = {"engines": FaithfulnessCounts(), "drawn": FaithfulnessCounts()}
    for seed in range(asked.seeds):
        started = time.monotonic()
        for by, evidence, name, text in run_seed(output, seed, sets, asked):
            checked[by].add(f"seed {seed}", name, check_caption(text, evidence))
        seconds[f"seed {seed}"] = time.monotonic() - started
        scores = {by: counts.score() for by, counts in checked.items()}
        results = {by: [asdict(score) for score in found] for by, found in scores.items()}
        (output / "results.json").write_text(json.dumps(results | {"seconds": seconds}, indent=1))
        print(seconds, flush=True)
        print_table(scores)


def draw_set(output: Path, name: str, seed: int, count: int, workers: int) -> dict[str, Scene]:
    """Draws scenes and annotates all but their captions."""
    scenes = write_scenes(output / name, seed, count)
    annotate_scenes(output, name, output / f"{name}-annotated", {}, {"workers": workers})
    return scenes


def run_seed(
    output: Path, seed: int, sets: list[dict[str, Scene]], asked: argparse.Namespace
) -> Iterator[tuple[str, Evidence, str, str]]:
    """Runs the loop once. Yields the evidence by its origin, the caption's name and its text, for each caption."""
    folder = output / f"seed-{seed}"
    folder.mkdir(exist_ok=True)
    prompts = {name: write_prompt(folder / f"{name}.txt", text) for name, text in PROMPTS.items()}
    seen, unseen = sets
    with serve_captions(seen, seed, ERROR_RATE) as url:
        run = {"settings": {"captions": {"base_url": url}}, "reuse": str(output / f"{SEEN}-annotated")}
        endpoint = {"engine": "endpoint", "settings": {"model": MODEL, "image_format": "png"}}
        rows = annotate_scenes(output, SEEN, folder / SEEN, {STAGE_1: endpoint}, run | {"workers": asked.workers})
    engines = {}
    for name, prompt in prompts.items():
        model = train_model(output, folder, name, prompt, rows, seed, asked.steps)
        engines[name] = {
            "engine": "shardloom",
            "settings": {
                "weights": str(model),
                "max_new_tokens": MAX_NEW_TOKENS,
                "device": "cpu",
                "images_per_pass": 16,
            },
            "prompt": str(folder / f"{name}.txt"),
        }
    yield from list_captions(rows, seen)
    run = {"reuse": str(output / f"{UNSEEN}-annotated"), "workers": asked.workers}
    yield from list_captions(annotate_scenes(output, UNSEEN, folder / UNSEEN, engines, run), unseen)


def write_prompt(path: Path, text: str) -> PromptTemplate:
    """Writes a prompt's file, from which the annotation run reads it, and returns it to build the training set."""
    path.write_text(text)
    return parse_prompt(text.encode(), str(path), ("ocr", "tags", "boxes"))


def annotate_scenes(
    output: Path, scenes: str, annotations: Path, captions: dict[str, Any], run: dict[str, Any]
) -> list[dict[str, Any]]:
    """Annotates scenes with lines, boxes and these captions, and returns the rows."""
    drawn = {"drawn": str(output / scenes / DRAWN_FILE)}
    asked = {
        "input": [str(output / scenes / "*.tar")],
        "engines": {
            "ocr": {"engine": "rapidocr"} if scenes == UNSEEN else {"engine": DRAWN_OCR.name, "settings": drawn},
            "tags": {"engine": "caption", "settings": {"vocabulary": str(output / VOCABULARY_FILE)}},
            "boxes": {"engine": "grounding_dino"}
            if scenes == UNSEEN
            else {"engine": DRAWN_BOXES.name, "settings": drawn},
            "captions": captions,
        },
        "chunk": {"samples": 50},
        "run": run,
    }
    annotate(load_recipe(AnnotateRecipe, None, asked), str(annotations))
    return [row for path in sorted((annotations / DATA).glob("*.parquet")) for row in read_table(path).to_pylist()]


def train_model(
    output: Path, folder: Path, name: str, prompt: PromptTemplate, rows: list[dict[str, Any]], seed: int, steps: int
) -> Path:
    """Makes conversations of stage-1 captions, with the prompt filled in as the engine will, and trains on them."""
    from training.loop import train

    lines = []
    for row in rows:
        turns = (("human", f"<image>\n{prompt.fill(row)}"), ("gpt", get_captions(row)[STAGE_1]))
        said = [{"from": speaker, "value": text} for speaker, text in turns]
        lines.append(json.dumps({"id": row["uid"], "image": f"{row['uid']}.jpg", "conversations": said}))
    conversations = folder / f"{name}.jsonl"
    conversations.write_text("\n".join(lines))
    ingest_options = {"source": "llava", "input": [str(conversations)], "images": [str(output / SEEN)]}
    ingest(load_recipe(IngestRecipe, None, ingest_options), str(folder / f"{name}-set"))
    changes = {
        "data.system_prompt": None,  # it would take half of the tiny model's sequence
        "data.sequence_length": SEQUENCE,
        "model.language.config.max_position_embeddings": SEQUENCE,
        "global_batch_size": 2,
        "checkpoint.every": 500,
    }
    recipe = load_tiny_recipe(folder / f"{name}-set", folder / f"{name}-run", seed, steps, changes)
    result = train(recipe, resume="auto")
    if result.model_folder is None:  # it was stopped by a signal, with a checkpoint
        raise KeyboardInterrupt
    return result.model_folder


def get_captions(row: dict[str, Any]) -> dict[str, str]:
    """Returns the texts of a row's captions by name, without those that failed."""
    return {caption["name"]: caption["text"] for caption in row["captions"] if caption["status"] != "error"}


def list_captions(rows: list[dict[str, Any]], scenes: dict[str, Scene]) -> Iterator[tuple[str, Evidence, str, str]]:
    """Yields each caption with what the engines found, without the alt text, and with what was drawn."""
    for row in rows:
        scene = scenes[row["uid"]]
        boxes = tuple(FoundBox(label, label) for label in scene.labels)
        drawn = Evidence((scene.line,) if scene.line else (), boxes, frozenset(LABELS))
        for name, text in get_captions(row).items():
            yield "engines", collect_evidence(row, with_alt_text=False), name, text
            yield "drawn", drawn, name, text


def print_table(scores: dict[str, list[FaithfulnessScore]]) -> None:
    """Prints the shares as a table of Markdown."""
    print("| evidence | captions | seed | captions | claims | supported | contradicted | captions contradicted |")
    print("|---|---|---|---|---|---|---|---|")
    for by, found in scores.items():
        for one in found:
            shares = [
                f"{share.value:.1%} ({share.low:.1%}-{share.high:.1%})"
                for share in (one.supported, one.contradicted, one.captions_contradicted)
            ]
            print(f"| {by} | {one.caption} | {one.source} | {one.captions} | {one.claims} | {' | '.join(shares)} |")


if __name__ == "__main__":
    main()
