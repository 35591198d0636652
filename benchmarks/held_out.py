"""Measures what holding samples out costs a run at the default, in pairs: steps and computations of one run in turn.

    python -m benchmarks.held_out SET [SET ...] [--pairs 3]

It trains the model of `recipes/train/tiny.yaml` on sets of training shards, such as those of `shardloom demo`, each a
source of its own. A pair is 20 steps and one computation of the loss of 256 held-out samples of each source, or of as
many as it has, with the samples that the model continues. The cost is that of a computation every 1,000 steps. Of a set
with fewer than 256,000 samples it holds out a larger share, so that there are 256 to compute.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from benchmarks.tiny_training import load_tiny_recipe
from curation.mixture.sources import open_source
from training.data.options import HeldOutOptions
from training.loop import train
from training.metrics import read_lines, read_metrics

STEPS = 20  # of a pair
DEFAULT = HeldOutOptions()


def main() -> None:
    """Runs the pairs, and prints the cost of each and their median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--pairs", type=int, default=3)
    asked = parser.parse_args()
    sources = {f"set{number}": [folder] for number, folder in enumerate(asked.sets)}
    smallest = min(open_source(name, folders).length for name, folders in sources.items())
    share = min(0.5, DEFAULT.samples / smallest)
    changes = {
        "data.sources": sources,
        "data.weights": dict.fromkeys(sources, 1),
        "data.repeats": dict.fromkeys(sources),
        "data.held_out": {"share": share, "every": STEPS},
        "data.workers": 0,
    }
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        recipe = load_tiny_recipe(Path(asked.sets[0]), run, 0, STEPS * (asked.pairs + 1), changes)
        train(recipe)
        seconds = [line["seconds"] for line in read_metrics(run)]
        lines = read_lines(run / "held_out.jsonl")
    costs = []
    for number, line in list(enumerate(lines))[1:]:  # the first pair has the start-up of both
        step = statistics.median(seconds[number * STEPS : (number + 1) * STEPS])
        spent = line["seconds"] + line.get("sampling_seconds", 0.0)
        costs.append(spent / (DEFAULT.every * step + spent))
        found = {"step": round(step, 3), "held_out": line["seconds"], "sampling": line.get("sampling_seconds", 0.0)}
        print(json.dumps(found | {"cost": round(costs[-1], 5)}), flush=True)
    samples = {"sources": len(sources), "share": round(share, 4), "smallest": smallest}
    print(json.dumps(samples | {"cost": round(statistics.median(costs), 5)}))


if __name__ == "__main__":
    main()
