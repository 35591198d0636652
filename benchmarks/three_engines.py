"""Measures OCR, tags and boxes in one pass: the share of the time in which the slowest engine is busy.

    python -m benchmarks.three_engines [--images 240] [--workers 1] [--chunk 8]

The pass has `--workers` workers of OCR, the slowest engine on a CPU, and one of each other pool, so that on two cores
none waits for a core. A stage is busy while a worker processes a batch; the time runs from the start of its first chunk
to the end of its last. The report also shows OCR's rate in the pass over that of a bare loop in a process of its own,
in the same run.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.annotate_ocr import bare_rate, images_of
from pipelines.annotate.run import annotate
from pipelines.demo.flow import build_annotate_recipe, write_pictures
from pipelines.output.totals import read_times
from pipelines.recipes.annotate import AnnotateRun
from schemas.storage.folder import Folder


def main() -> None:
    """Reads the command line, runs the pass and prints the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--chunk", type=int, default=8)
    options = parser.parse_args()
    resources = {"ocr": {"workers": options.workers, "cpus": 1}, "boxes": {"workers": 1, "cpus": 0.5}}
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(f"{folder}/images", options.images)
        recipe = build_annotate_recipe(f"{folder}/images", AnnotateRun.model_validate({"resources": resources}))
        chunk = recipe.chunk.model_copy(update={"samples": options.chunk})
        annotate(recipe.model_copy(update={"chunk": chunk}), f"{folder}/annotations")
        stages = read_times(Folder(f"{folder}/annotations")).stages
        bare = bare_rate(images_of(Path(folder, "images")), options.workers)
    shares = {}
    for name, counts in stages.items():
        rate = counts["images"] / counts["working_seconds"]
        shares[name] = counts["busy_seconds"] / counts["offered_seconds"]
        print(f"{name:>7}: {counts['workers']:.0f} workers, busy {shares[name]:.3f} of the time, {rate:.2f} images/s")
    slowest = max(shares, key=lambda name: shares[name])
    ocr = stages["ocr"]["images"] / stages["ocr"]["working_seconds"]
    print(f"slowest: {slowest}, busy {shares[slowest]:.3f} of the time")
    print(f"bare OCR by as many processes: {bare:.2f} images/s; in the pass {ocr / bare:.3f} of it")


if __name__ == "__main__":
    main()
