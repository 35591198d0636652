"""Measures what holding samples out costs a run at the default, in pairs: steps and computations of one run in turn.

    python -m benchmarks.held_out OUTPUT [--sources 3] [--pairs 3]

It trains the model of `recipes/train/tiny.yaml` on sets of drawn scenes, each a source of its own. A pair is 20 steps
and one computation of the loss of 256 held-out samples of each source, as the default has it, and of the four samples
that the model continues. The cost is that of one such computation every 1,000 steps, as a share of the whole run; the
samples are continued only where the loss is the lowest so far, so with them it is the most that it can be.
"""

import argparse
import json
import statistics
from pathlib import Path

from benchmarks.connectors import draw_set
from benchmarks.tiny_training import load_tiny_recipe
from training.data.options import HeldOutOptions
from training.loop import train
from training.metrics import read_lines, read_metrics

STEPS = 20  # of a pair
DEFAULT = HeldOutOptions()
SCENES = 640  # of a source: half of them are more than the 256 that a computation takes


def main() -> None:
    """Runs the pairs, and prints the cost of each and their median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--sources", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=3)
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    folders = [draw_set(asked.output / f"scenes-{number}", number, SCENES) for number in range(asked.sources)]
    sources = {folder.name: [str(folder)] for folder in folders}
    changes = {
        "data.sources": sources,
        "data.weights": dict.fromkeys(sources, 1),
        "data.repeats": dict.fromkeys(sources),
        "data.held_out": {"share": 0.5, "every": STEPS},
        "data.workers": 0,
    }
    run = asked.output / f"run-{asked.sources}"
    train(load_tiny_recipe(folders[0], run, 0, STEPS * (asked.pairs + 1), changes), resume="auto")
    seconds, costs = [line["seconds"] for line in read_metrics(run)], []
    for number, line in list(enumerate(read_lines(run / "held_out.jsonl")))[1:]:  # the first has the start-up of both
        step = statistics.median(seconds[number * STEPS : (number + 1) * STEPS])
        sampling = line.get("sampling_seconds", 0.0)
        spent = line["seconds"] + sampling
        costs.append(spent / (DEFAULT.every * step + spent))
        found = {"step": round(step, 3), "loss": line["seconds"], "samples": sampling, "cost": round(costs[-1], 5)}
        print(json.dumps(found), flush=True)
    print(json.dumps({"sources": asked.sources, "median cost": round(statistics.median(costs), 5)}))


if __name__ == "__main__":
    main()
