"""The demo's last steps, on small sets: documents taken in, everything mixed by the recipe that ships."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.demo.flow import ingest_documents, mix_everything
from pipelines.demo.training import train_model
from pipelines.recipes.base import load_recipe
from pipelines.recipes.mix import MixRecipe
from pipelines.stats.run import collect_stats
from pipelines.verify.run import verify
from schemas.records.box import Detection
from schemas.records.tag import Tag
from tests.conftest import REPOSITORY
from tests.pipelines.support.sets import ALONE, annotation_set, caption_set, grounding_caption_set, grounding_set, join
from training.recipe import load_train_recipe as load_training


def test_everything_is_mixed(make_shards: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make_shards(tmp_path / "images", shards=2, samples=30)
    ocr = caption_set(annotation_set(images, tmp_path / "lines"), tmp_path / "captions/ocr")
    join(images, ocr, tmp_path / "training/ocr")
    found = [Detection("picture", "picture", (0.25, 0.25, 0.5, 0.5), 0.5)]
    boxes = grounding_set(images, tmp_path / "boxes", lambda _: found, lambda _: [Tag("picture", 1.0, "image")])
    grounding = grounding_caption_set(boxes, tmp_path / "captions/grounding")
    join(images, grounding, tmp_path / "training/grounding")
    documents = ingest_documents(str(tmp_path), 10, ALONE)
    assert (documents.rows_out, documents.counts["lost_images"]) == (10, 1)
    mixed = mix_everything(str(tmp_path), ALONE)
    got = collect_stats(str(tmp_path / "mixed"))["mixture"]
    # the documents, of which each may come four times, are half of it, and through first
    counts = {row["source"]: row["counts"]["samples"] for row in got["sources"]}
    assert counts == {"documents": 40, "ocr": 26, "grounding": 13}
    assert mixed.rows_out == 79
    assert verify(str(tmp_path / "mixed")) == (1, [])
    # and the recipe is about the folders that the command makes, where it is told no others
    monkeypatch.chdir(tmp_path)
    for name in ("demo.yaml", "train/tiny.yaml"):
        shutil.copy(REPOSITORY / "recipes" / name, tmp_path)
    recipe = load_recipe(MixRecipe, "demo.yaml")
    assert {name: where for name, (where,) in recipe.sources.items()} == {
        name: f"demo-output/training/{name}" for name in counts
    }
    # so is the training's, which goes on where it was, and ends with words on two pictures
    learnt = train_model(str(tmp_path), steps=2)
    assert sorted(learnt.first_losses) == sorted(counts)
    assert [said.source for said in learnt.examples] == ["ocr", "grounding"]
    assert learnt.examples[0].caption.startswith('The image contains the text "')
    assert learnt.examples[1].caption == "picture (in the center) 000000000000"
    assert train_model(str(tmp_path), steps=2) == learnt
    trained = load_training("tiny.yaml")
    assert trained.data.sources == {name: [f"demo-output/training/{name}"] for name in sorted(counts)}
