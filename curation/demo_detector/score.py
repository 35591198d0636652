"""How well a detector finds what fresh scenes show: precision, recall, F1 and the overlap of what was found.

`python -m curation.demo_detector.score` scores the weights that ship. Prompts hold the scene's labels and four phrases
for what isn't there; a box belongs to a label when the mean probability of the label's tokens is over the threshold.
Of boxes of one label that overlap by more than 0.6 the surest is kept, as the engine does it. A box is right when it
overlaps an object of its label, not yet found by a surer one, by 0.5.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import BertTokenizer, GroundingDinoForObjectDetection
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

from curation.demo_detector.batches import Pieces, absent_phrases
from curation.demo_detector.scenes import Box, Scene, draw_scene

WEIGHTS = Path(__file__).parent / "weights"
THRESHOLD = 0.3
OVERLAP = 0.5
COPIES = 0.6
ABSENT = 4


@dataclass(slots=True)
class Score:
    """Counts over scenes; `overlap` is the sum over the boxes that are right."""

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
        return _f1(self.right.total(), self.wrong.total(), self.missed.total())

    @property
    def mean_overlap(self) -> float:
        return self.overlap / max(1, self.right.total())

    def of(self, label: str) -> float:
        """F1 of one label."""
        return _f1(self.right[label], self.wrong[label], self.missed[label])

    def add(self, objects: Sequence[tuple[str, Box]], found: Sequence[tuple[float, str, Box]]) -> None:
        """Counts one scene."""
        left = list(objects)
        for _, label, box in sorted(found, reverse=True):
            pairs = [(overlap(box, other), place) for place, (name, other) in enumerate(left) if name == label]
            share, place = max(pairs, default=(0.0, 0))
            if share >= OVERLAP:
                del left[place]
                self.right[label] += 1
                self.overlap += share
            else:
                self.wrong[label] += 1
        self.missed.update(label for label, _ in left)


class Detector:
    """A folder of weights, asked for boxes as the engine asks it."""

    def __init__(
        self,
        model: GroundingDinoForObjectDetection,
        tokenizer: BertTokenizer,
        processor: GroundingDinoImageProcessorPil,
    ) -> None:
        self._model = model.eval()  # type: ignore[no-untyped-call]
        self._pieces = Pieces(tokenizer)
        self._processor = processor

    @classmethod
    def load(cls, folder: Path) -> "Detector":
        return cls(
            GroundingDinoForObjectDetection.from_pretrained(folder),
            BertTokenizer.from_pretrained(folder),
            GroundingDinoImageProcessorPil.from_pretrained(folder),
        )

    @torch.inference_mode()
    def find(self, scene: Scene, phrases: Sequence[str], threshold: float = THRESHOLD) -> list[tuple[float, str, Box]]:
        """Confidence, phrase and box of what is found, the surest first."""
        ids, places = self._pieces.prompt(phrases)
        inputs = self._processor(scene.image, return_tensors="pt").to(self._model.device)
        out = self._model(**inputs, input_ids=torch.tensor([ids], device=self._model.device))
        chances = out.logits[0].sigmoid().cpu()
        boxes = out.pred_boxes[0].cpu()
        corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1).clamp(0, 1).tolist()
        found: list[tuple[float, str, Box]] = []
        for phrase, place in zip(phrases, places, strict=True):
            sure = chances[:, place.start : place.stop].mean(1).tolist()
            kept: list[Box] = []
            for chance, (x1, y1, x2, y2) in sorted(zip(sure, corners, strict=True), reverse=True):
                box = (x1, y1, x2, y2)
                if chance > threshold and all(overlap(box, other) <= COPIES for other in kept):
                    kept.append(box)
                    found.append((chance, phrase, box))
        return sorted(found, reverse=True)


def score(detector: Detector, scenes: int, seed: int, threshold: float = THRESHOLD) -> Score:
    """Scores so many scenes of the seed, pictures of 200 to 500 pixels."""
    result = Score()
    for index in range(scenes):
        rng = random.Random(f"score {seed}:{index}")
        short = rng.randint(200, 400)
        long = round(short * rng.uniform(1, 1.5))
        scene = draw_scene(rng, rng.choice(((short, long), (long, short))))
        labels = [label for label, _ in scene.objects]
        phrases = sorted({*labels, *absent_phrases(rng, labels, ABSENT)})
        rng.shuffle(phrases)
        result.add(scene.objects, detector.find(scene, phrases, threshold))
    return result


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return 0.0
    shared = across * down
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def _f1(right: int, wrong: int, missed: int) -> float:
    return 2 * right / max(1, 2 * right + wrong + missed)


def main() -> None:
    parser = argparse.ArgumentParser(description="Scores a demo detector on scenes that it hasn't seen.")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threshold", type=float, default=THRESHOLD)
    options = parser.parse_args()
    result = score(Detector.load(options.weights), options.scenes, options.seed, options.threshold)
    labels = sorted({*result.right, *result.missed, *result.wrong}, key=result.of)
    print(
        json.dumps(
            {
                "f1": round(result.f1, 4),
                "precision": round(result.precision, 4),
                "recall": round(result.recall, 4),
                "mean_iou": round(result.mean_overlap, 4),
                "objects": result.right.total() + result.missed.total(),
                "worst": {label: round(result.of(label), 3) for label in labels[:10]},
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
