"""Compares connectors at the demo's scale: tiny models learn to name the thing in a drawn scene, and meet unseen ones.

    nice -n 19 python -m benchmarks.connectors OUTPUT [--seeds 3] [--scenes 8000] [--unseen 500] [--steps 400]
        [--minutes 75] [--write docs/ablations.md]

All models are that of `recipes/train/tiny.yaml` but for the connector, and all connectors make 16 tokens of an image's
64 cells. So for one seed they see the same packs, with the same tokens, in the same order, and their towers and
language models start from the same weights; the seeds differ in both. The loss is the mean over the text's tokens, once
with each scene's own image, and once with another's: where the two are equal, the model does not use images.

It prints the table after each model, ends after --minutes, and resumes in OUTPUT, whose `results.json` has each model's
loss. --write puts the table in place of the first one of a file.
"""

import argparse
import contextlib
import json
import random
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.caption_scenes import format_count
from benchmarks.captioned_set import write_captioned_set
from benchmarks.tiny_training import load_tiny_recipe
from curation.demo_detector.scenes import draw_scene
from training.data.build import build_pack_plan
from training.data.loader import PackLoader
from training.data.options import DataOptions
from training.loop import train
from training.model.pretrained import load_pretrained
from training.objective import compute_micro_batch_loss
from training.recipe import TrainRecipe

SIDE = 112  # pixels, the tower's own size
SEQUENCE, IMAGES = 256, 10  # positions, and images at most, of a sequence
CONNECTORS: dict[str, dict[str, Any]] = {
    "perceiver": {"depth": 2, "heads": 4, "head_dim": 24, "latents": 16},
    "average_pool": {"side": 4},
    "attention_pool": {"queries": 16, "heads": 4, "head_dim": 24},
    "c_abstractor": {"side": 4, "hidden": 96},
    "xdp": {},
}
"""Each makes 16 tokens of 64 cells; widths are the tower's, 96."""
QUANTILES = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Student's t for 95 %, by the number of seeds."""
EQUAL = ("tokens", "labels", "images", "samples")  # what a seed's models must have seen alike
Results = dict[str, dict[str, Any]]


def main() -> None:
    """Trains and measures each model that is still absent, seed by seed."""
    options = read_options()
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    results_file = output / "results.json"
    results: Results = json.loads(results_file.read_text()) if results_file.exists() else {}
    started, longest = time.monotonic(), 0.0
    sets = [draw_set(output / name, number, count) for name, number, count in
            (("seen", 0, options.scenes), ("unseen", 1, options.unseen))]  # fmt: skip
    for seed, kind in ((seed, kind) for seed in range(options.seeds) for kind in CONNECTORS):
        if f"{seed}/{kind}" in results:
            continue
        begun = time.monotonic()
        if begun - started + longest > options.minutes * 60:
            print(f"stopped after {(begun - started) / 60:.0f} minutes; the same command resumes", flush=True)
            break
        results[f"{seed}/{kind}"] = run_one(output, sets, kind, seed, options.steps)
        check_saw_the_same(results, seed)
        results_file.write_text(json.dumps(results, indent=1))
        longest = max(longest, time.monotonic() - begun)
        print(f"seed {seed}, {kind}: {results[f'{seed}/{kind}']}, {time.monotonic() - begun:.0f} s", flush=True)
        print("\n".join(format_table(results)), flush=True)
    if options.write:
        write_table(options.write, format_table(results))


def read_options() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    for name, default in (("seeds", 3), ("scenes", 8000), ("unseen", 500), ("steps", 400)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--minutes", type=float, default=75)
    parser.add_argument("--write", type=Path, help="the Markdown file whose first table is replaced")
    return parser.parse_args()


def draw_set(folder: Path, number: int, count: int) -> Path:
    """Draws scenes and writes them with the names of what is in them, sorted, unless the folder has them."""
    if not folder.exists():
        write_captioned_set(folder, (draw_sample(random.Random(f"{number}/{index}")) for index in range(count)))
    return folder


def draw_sample(rng: random.Random) -> tuple[Image.Image, str]:
    """Draws a scene of one thing and names it; of several, a tiny model hardly learns to see any in so few steps."""
    scene = draw_scene(rng, (SIDE, SIDE), 1)
    ((label, _),) = scene.objects
    return scene.image, format_count(label, 1)


def run_one(output: Path, sets: list[Path], kind: str, seed: int, steps: int) -> dict[str, Any]:
    """Trains one model and returns its losses on unseen scenes, and what it has seen."""
    changes = {
        "model.connector": {"kind": kind} | CONNECTORS[kind],
        "data.sequence_length": SEQUENCE,
        "data.tiles_per_sequence": IMAGES,
        "checkpoint.every": 10 * steps,
    }
    recipe = load_tiny_recipe(sets[0], output / f"seed-{seed}-{kind}", seed, steps, changes)
    result = train(recipe, resume="auto")
    if result.model_folder is None:  # it was stopped by a signal, with a checkpoint
        raise KeyboardInterrupt
    model, _ = load_pretrained(result.model_folder)
    parameters = sum(parameter.numel() for parameter in model.connector.parameters())
    losses = {name: measure_loss(result.model_folder, recipe, sets[1], name) for name in ("own", "swapped")}
    return losses | {name: result.seen[name] for name in EQUAL} | {"parameters": parameters}


def measure_loss(model_folder: Path, recipe: TrainRecipe, unseen: Path, images: str) -> float:
    """Returns the mean loss of the set's text tokens, with each scene's own image, or with swapped ones."""
    model, tokenizer = load_pretrained(model_folder)
    changes = {"sources": {"captions": [str(unseen)]}, "repeats": {}, "stop": "all_exhausted", "workers": 0}
    data = DataOptions.model_validate(recipe.data.model_dump() | changes)
    plan = build_pack_plan(data, recipe.model, tokenizer, model.vision.image_size, model.vision.patch_size)
    total, count = 0.0, 0
    with contextlib.closing(PackLoader(plan, global_batch_size=1)) as loader, torch.inference_mode():
        for step in loader.iterate_steps():
            for batch in step.batches:
                shown = replace(batch, tiles=batch.tiles.roll(1, 0)) if images == "swapped" else batch
                found = compute_micro_batch_loss(model, shown, 1, torch.ones(1))
                total, count = total + float(found.loss_sums.sum()), count + int(found.label_counts.sum())
    return total / count


def check_saw_the_same(results: Results, seed: int) -> None:
    """Raises `AssertionError` unless all models of a seed have seen equally many tokens, images and samples."""
    seen = {tuple(results[key][name] for name in EQUAL) for key in results if key.startswith(f"{seed}/")}
    assert len(seen) == 1, f"seed {seed}: the models have seen different data: {seen}"


def format_table(results: Results) -> list[str]:
    """Formats one row for each connector: its losses by seed, their mean, and its difference from the first one's."""
    seeds, base = sorted({int(key.partition("/")[0]) for key in results}), next(iter(CONNECTORS))
    lines = [
        f"| connector | parameters | loss, by seed | mean | minus the {base}'s, by seed | of swapped images |",
        "|---|---|---|---|---|---|",
    ]
    for kind in CONNECTORS:
        own = {seed: results[f"{seed}/{kind}"] for seed in seeds if f"{seed}/{kind}" in results}
        if not own:
            continue
        losses = {seed: found["own"] for seed, found in own.items()}
        differences = [losses[seed] - results[f"{seed}/{base}"]["own"] for seed in own]
        above = "" if kind == base else format_interval(differences, "+.3f")
        listed = ", ".join(f"{loss:.3f}" for loss in losses.values())
        swapped = statistics.mean(found["swapped"] for found in own.values())
        parameters = next(iter(own.values()))["parameters"]
        mean = format_interval(list(losses.values()), ".3f")
        lines.append(f"| `{kind}` | {parameters:,} | {listed} | {mean} | {above} | {swapped:.3f} |")
    return lines


def format_interval(values: list[float], form: str) -> str:
    """Formats the mean with its 95 % interval by Student's t, which needs at least two values."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:{form}}"
    half = QUANTILES[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:{form}} ({mean - half:{form}} to {mean + half:{form}})"


def write_table(path: Path, table: list[str]) -> None:
    """Puts the table in place of the first one of a Markdown file."""
    lines = path.read_text("utf-8").split("\n")
    start = next(at for at, line in enumerate(lines) if line.startswith("|"))
    end = next(at for at in range(start, len(lines)) if not lines[at].startswith("|"))
    path.write_text("\n".join([*lines[:start], *table, *lines[end:]]), "utf-8")


if __name__ == "__main__":
    main()
