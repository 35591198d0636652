"""Scenes: the same from the same seed, at every size, and boxes that fit what is drawn."""

import random

import numpy as np
import pytest
from PIL import Image, ImageChops

from curation.demo_detector import scenes
from curation.demo_detector.drawings import PALETTE, compute_bounds, draw_shape, draw_thing
from curation.demo_detector.scenes import draw_scene
from curation.demo_detector.vocabulary import LABELS, SHAPES, THINGS


def test_a_seed_is_a_scene() -> None:
    first, again, other = (draw_scene(random.Random(seed), (160, 120)) for seed in (3, 3, 4))
    assert first.image.tobytes() == again.image.tobytes()
    assert (first.objects, first.caption) == (again.objects, again.caption)
    assert first.objects != other.objects
    assert first.image.size == (160, 120)
    assert first.image.mode == "RGB"


@pytest.mark.parametrize("size", [(512, 512), (300, 300), (96, 96), (32, 32)])
def test_every_resolution_shows_the_same(size: tuple[int, int]) -> None:
    for seed in range(6):
        small, large = draw_scene(random.Random(seed), size), draw_scene(random.Random(seed), (256, 256))
        assert (small.objects, small.caption) == (large.objects, large.caption)
        a, b = (np.asarray(one.image.resize((16, 16), Image.Resampling.BOX)).astype(int) for one in (small, large))
        assert np.abs(a - b).mean() < 10


def test_boxes_are_inside_and_apart() -> None:
    counts = set()
    for seed in range(200):
        rng = random.Random(seed)
        width, height = rng.randint(60, 140), rng.randint(60, 140)
        objects = draw_scene(rng, (width, height)).objects
        counts.add(len(objects))
        for index, (label, (x1, y1, x2, y2)) in enumerate(objects):
            assert label in LABELS
            assert 0 <= x1 < x2 <= 1
            assert 0 <= y1 < y2 <= 1
            longest = max((x2 - x1) * width, (y2 - y1) * height) / min(width, height)
            assert 0.199 < longest < 0.581
            for _, (a1, b1, a2, b2) in objects[:index]:
                assert min(x2, a2) - max(x1, a1) < 0.011 or min(y2, b2) - max(y1, b1) < 0.011
    assert counts == {1, 2, 3, 4}


@pytest.mark.parametrize("name", SHAPES + THINGS)
def test_boxes_are_tight(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What differs from the same scene without its object fills the box to a pixel of 400."""
    size = (400, 300)
    drawn = (name, (draw_shape if name in SHAPES else draw_thing)(random.Random(name), name, PALETTE["purple"]))
    monkeypatch.setattr(scenes, "_draw_object", lambda *_: drawn)
    full = draw_scene(random.Random(name), size, count=1)
    monkeypatch.setattr(scenes, "compute_bounds", lambda *_: compute_bounds(drawn[1]))
    monkeypatch.setattr(scenes, "_draw_object", lambda *_: (name, []))
    empty = draw_scene(random.Random(name), size, count=1)
    [(_, box)] = full.objects
    seen = ImageChops.difference(full.image, empty.image).getbbox()
    assert seen is not None
    assert np.abs(np.array(seen) - np.array(box) * (400, 300, 400, 300)).max() <= 1.5


def test_captions_name_every_object() -> None:
    captions = [draw_scene(random.Random(seed), (96, 96)).caption for seed in (0, 1, 5, 7, 9, 33)]
    assert captions == [
        "a yellow heart, a yellow square and a car",
        "a house",
        "a mushroom, an orange arrow, a sun and a yellow arrow",
        "a flower above a boat",
        "a house right of a flower",
        "two stop signs, a tree and a yellow triangle",
    ]
    for seed in range(100):
        scene = draw_scene(random.Random(seed), (96, 96))
        assert all(label in scene.caption for label, _ in scene.objects)
        labels = [label for label, _ in scene.objects]
        assert any(number in scene.caption for number in ("two ", "three ", "four ")) == (
            len(set(labels)) < len(labels)
        )
