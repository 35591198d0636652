"""Measures how well the demo detector finds things in new scenes: precision, recall, F1 and mean overlap.

`python -m curation.demo_detector.score` scores the weights that ship, through the engine and its default settings.
Prompts hold a scene's labels and up to four phrases for absent things. A box is right if its overlap with an object of
its label, not yet found by a box with a higher score, is at least 0.5.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from curation.demo_detector.batches import sample_absent_phrases
from curation.demo_detector.scenes import draw_scene
from curation.demo_detector.vocabulary import strip_colour
from curation.engines.boxes.grounding_dino import GroundingDino
from curation.engines.boxes.grounding_dino_settings import GroundingDinoSettings
from schemas.records.box import Box, Detection

WEIGHTS = Path(__file__).parent / "weights"
MIN_IOU = 0.5
ABSENT_PHRASES = 4


@dataclass(slots=True)
class Score:
    """Counts detections by label over scenes; `overlap` is the sum over the boxes that are right."""

    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    overlap: float = 0.0

    @property
    def precision(self) -> float:
        return self.right.total() / max(1, self.right.total() + self.wrong.total())

    @property
    def recall(self) -> float:
        return self.right.total() / max(1, self.right.total() + self.missed.total())

    @property
    def f1(self) -> float:
        return _compute_f1(self.right.total(), self.wrong.total(), self.missed.total())

    @property
    def mean_overlap(self) -> float:
        return self.overlap / max(1, self.right.total())

    def compute_label_f1(self, label: str) -> float:
        """Returns the F1 of one label."""
        return _compute_f1(self.right[label], self.wrong[label], self.missed[label])

    def add_scene(self, objects: Sequence[tuple[str, Box]], found: Sequence[Detection]) -> None:
        """Counts one scene. `found` must be in order of falling score."""
        left = list(objects)
        for one in found:
            pairs = [
                (compute_iou(one.box, box), place) for place, (label, box) in enumerate(left) if label == one.label
            ]
            share, place = max(pairs, default=(0.0, 0))
            if share >= MIN_IOU:
                del left[place]
                self.right[one.label] += 1
                self.overlap += share
            else:
                self.wrong[one.label] += 1
        self.missed.update(label for label, _ in left)


def score(detector: GroundingDino, scenes: int, seed: int, plain: bool = False) -> Score:
    """Scores this many scenes of the seed, in pictures of 200 to 600 pixels.

    `plain` names shapes without their colours.
    """
    result = Score()
    for index in range(scenes):
        rng = random.Random(f"score {seed}:{index}")
        short = rng.randint(200, 400)
        long = round(short * rng.uniform(1, 1.5))
        scene = draw_scene(rng, rng.choice(((short, long), (long, short))))
        objects = [(strip_colour(label) if plain else label, box) for label, box in scene.objects]
        labels = [label for label, _ in scene.objects]
        phrases = sorted({*(label for label, _ in objects), *sample_absent_phrases(rng, labels, ABSENT_PHRASES)})
        rng.shuffle(phrases)
        [found] = detector.annotate([np.asarray(scene.image)], [phrases])
        result.add_scene(objects, found)
    return result


def compute_iou(a: Box, b: Box) -> float:
    """Returns the intersection over union, 0 to 1."""
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return 0.0
    shared = across * down
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def _compute_f1(right: int, wrong: int, missed: int) -> float:
    return 2 * right / max(1, 2 * right + wrong + missed)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description="Scores a demo detector on scenes that it has not been trained on.")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="name shapes without their colours")
    options = parser.parse_args()
    detector = GroundingDino(GroundingDinoSettings(weights=str(options.weights)))
    result = score(detector, options.scenes, options.seed, options.plain)
    labels = sorted({*result.right, *result.missed}, key=result.compute_label_f1)
    report = {
        "f1": round(result.f1, 4),
        "precision": round(result.precision, 4),
        "recall": round(result.recall, 4),
        "mean_iou": round(result.mean_overlap, 4),
        "objects": result.right.total() + result.missed.total(),
        "worst": {label: round(result.compute_label_f1(label), 3) for label in labels[:10]},
    }
    print(json.dumps(report, indent=2))  # noqa: T201  numbers alone


if __name__ == "__main__":
    main()
