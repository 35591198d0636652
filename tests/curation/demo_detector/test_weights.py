"""The weights that ship: small, whole, and as good as their card says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import GroundingDinoForObjectDetection

from curation.demo_detector import model as small
from curation.demo_detector.score import WEIGHTS, Score, score
from curation.demo_detector.vocabulary import LABELS
from curation.engines.boxes.grounding_dino import GroundingDino
from schemas.records.box import Detection


def lines(path: Path) -> list[str]:
    """Of a text file, but for the number type that transformers notes in one that it has loaded before."""
    return [line for line in path.read_text().splitlines() if '"dtype"' not in line]


@pytest.fixture(scope="module")
def detector() -> GroundingDino:
    return GroundingDino()


def test_twelve_megabytes_hold_all() -> None:
    assert (WEIGHTS / "model.safetensors").stat().st_size < 12_000_000
    _, notes = GroundingDinoForObjectDetection.from_pretrained(WEIGHTS, output_loading_info=True)
    assert not any(notes[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))
    assert all(value.isfinite().all() for value in load_file(WEIGHTS / "model.safetensors").values())
    assert json.loads((WEIGHTS / "demonstration.json").read_text())["words"] == list(LABELS)


def test_the_folder_is_what_training_writes(tmp_path: Path) -> None:
    """Saved again, every file but the card is the same, and so are the answers."""
    model = GroundingDinoForObjectDetection.from_pretrained(WEIGHTS)
    small.save(model, tmp_path)
    names = {path.name for path in WEIGHTS.iterdir()} - {"README.md"}
    assert names == {path.name for path in tmp_path.iterdir()}
    for name in names - {"model.safetensors"}:
        assert lines(tmp_path / name) == lines(WEIGHTS / name), name
    again = GroundingDinoForObjectDetection.from_pretrained(tmp_path)
    ids = small.build_tokenizer()("red circle. house.", return_tensors="pt")
    pixels = torch.rand(1, 3, 80, 107, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, other = (each.eval()(pixel_values=pixels, **ids) for each in (model, again))
    assert torch.equal(one.logits, other.logits)
    assert torch.equal(one.pred_boxes, other.pred_boxes)


def test_fresh_scenes(detector: GroundingDino) -> None:
    found = score(detector, 60, seed=99)
    assert found.f1 >= 0.93
    assert found.mean_overlap >= 0.86


def test_pictures_of_one_colour_show_nothing(detector: GroundingDino) -> None:
    for colour in ("white", "black", "grey", "green"):
        image = np.asarray(Image.new("RGB", (200, 150), colour))
        assert detector.annotate([image], [["red circle", "house", "tree"]]) == [[]]


def test_counting() -> None:
    result = Score()
    a, b = (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)
    found = [Detection(label, label, box, 0.9) for label, box in (("cup", a), ("cup", a), ("sun", b))]
    result.add_scene([("cup", a), ("cup", b), ("sun", a)], found)
    assert (result.right.total(), result.wrong.total(), result.missed.total()) == (1, 2, 2)
    assert (result.precision, result.recall, result.f1) == (1 / 3, 1 / 3, 1 / 3)
    assert (result.mean_overlap, result.compute_label_f1("cup"), result.compute_label_f1("sun")) == (1.0, 0.5, 0.0)
