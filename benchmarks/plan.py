"""Measures how well `annotate --plan` forecasts: runs of three recipes, each beside what was printed before it.

    python -m benchmarks.plan [--images 200] [--runs 4 3 3] [--plan-each]

The recipes are OCR; OCR and tags; OCR, tags and boxes, with the weights that ship, over generated pictures, all in
processes of their own. Each recipe is planned once, then run several times; with `--plan-each` it is planned before
every run. The error is that of the run's time by its own clock, as `stats.json` has it, over the planned time. The load
of the machine is printed beside it: other work makes a minute of the probe and a later run differ.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from pipelines.demo.flow import build_annotate_recipe, write_pictures
from pipelines.output.totals import read_times
from pipelines.recipes.annotate import AnnotateRun
from schemas.storage.folder import Folder

RECIPES = {"ocr": ("ocr",), "ocr,tags": ("ocr", "tags"), "ocr,tags,boxes": ("ocr", "tags", "boxes")}
GOAL_INSIDE, GOAL_ERROR = 0.8, 0.15


def main() -> None:
    """Reads the command line, does the runs, and prints a line for each and their summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--runs", type=int, nargs=3, default=[4, 3, 3])
    parser.add_argument("--plan-each", action="store_true")
    options = parser.parse_args()
    errors: list[float] = []
    inside = 0
    print(f"{'recipe':16}{'images':>7}{'planned s':>11}{'interval':>14}{'took s':>8}{'error':>8}  inside  load")
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(f"{folder}/images", options.images)
        for (name, engines), runs in zip(RECIPES.items(), options.runs, strict=True):
            recipe = write_recipe(Path(folder, "recipe.yaml"), f"{folder}/images", engines)
            plan: dict[str, Any] = {}
            for number in range(runs):
                if options.plan_each or not number:
                    plan = run_plan(recipe, f"{folder}/out", options.images)
                took, load = run_recipe(recipe, f"{folder}/out")
                planned = plan["seconds"]
                errors.append(took / planned["value"] - 1)
                is_inside = planned["low"] <= took <= planned["high"]
                inside += is_inside
                ends = f"{planned['low']:.0f} to {planned['high']:.0f}"
                print(
                    f"{name:16}{options.images:7}{planned['value']:11.1f}{ends:>14}{took:8.1f}{errors[-1]:8.1%}"
                    f"  {'yes' if is_inside else 'no':6}  {load:.1f}",
                    flush=True,
                )
    error = statistics.median(map(abs, errors))
    print(f"inside the interval: {inside} of {len(errors)} (goal {GOAL_INSIDE:.0%})")
    print(f"median error: {error:.1%} (goal {GOAL_ERROR:.0%})")


def write_recipe(path: Path, images: str, engines: tuple[str, ...]) -> Path:
    """Writes the demo's recipe with these engines, and with repeated images as they are."""
    recipe = build_annotate_recipe(images, AnnotateRun()).resolve()
    recipe["engines"] = {name: recipe["engines"][name] for name in engines}
    recipe["filters"]["repeated_images"] = False
    path.write_text(yaml.safe_dump(recipe))
    return path


def run_plan(recipe: Path, output: str, images: int) -> dict[str, Any]:
    """Plans a run in a process of its own. Returns the plan."""
    command = [sys.executable, "-m", "pipelines.annotate", str(recipe), "--output", output, "--plan", "--json"]
    done = subprocess.run([*command, "--images", str(images)], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_recipe(recipe: Path, output: str) -> tuple[float, float]:
    """Runs a recipe into a new folder. Returns the seconds of the run, and the machine's load as it ended."""
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "pipelines.annotate", str(recipe), "--output", output]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return read_times(Folder(output)).seconds, os.getloadavg()[0]


if __name__ == "__main__":
    main()
