"""The recipes of KALE from stage 1 to stage 2, where the captioner that stage 1 has trained captions other images."""

import hashlib
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from curation.demo_detector.scenes import draw_scene
from curation.demo_detector.vocabulary import LABELS
from curation.engines.weights import hash_weights
from pipelines.verify.run import verify
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from schemas.tar.writer import TarWriter
from tests.conftest import REPOSITORY
from tests.pipelines.support.caption_models import SHARDLOOM
from tests.pipelines.support.sets import in_process, rows
from tests.support.caption_server import running_server

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.slow]

SHIPPED = REPOSITORY / "recipes"
MODEL = "Qwen/Qwen2.5-VL-7B-Instruct"  # that the recipes ask for
IMAGES, STEPS, POSITIONS = 12, 30, 512


def run(*words: object) -> str:
    done = in_process(*words)
    assert done.returncode == 0, f"{words}\n{done.stderr}"
    return done.stdout


def write_scenes(path: Path, first: int) -> str:
    """A shard of drawn scenes, whose alt texts name what is in them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = TarWriter(file)
        for number in range(first, first + IMAGES):
            scene, image, key = draw_scene(random.Random(number), (160, 160)), io.BytesIO(), f"{number:012d}"
            scene.image.save(image, "JPEG", quality=90)
            uid = hashlib.md5(key.encode()).hexdigest()
            details = {"uid": uid, "url": f"https://example.org/{key}.jpg", "key": key, "caption": scene.caption}
            writer.add(f"{key}.jpg", image.getvalue())
            writer.add(f"{key}.json", json.dumps(details).encode())
            writer.add(f"{key}.txt", scene.caption.encode())
        writer.close()
    return str(path)


def change(recipe: str, **changes: Any) -> None:
    """Changes a copied recipe: the detector's own weights know few words, and these are the ones to look for."""
    Path("words.txt").write_text("\n".join(LABELS))
    values = yaml.safe_load(Path(recipe).read_text())
    values["engines"]["tags"]["settings"] = {"vocabulary": "words.txt"}
    Path(recipe).write_text(yaml.safe_dump(values | changes))


def write_training() -> None:
    """Puts the tiny model and its schedule into the recipe of the captioner."""
    recipe = yaml.safe_load(Path("captioner.yaml").read_text())
    tiny = yaml.safe_load((SHIPPED / "train/tiny.yaml").read_text())
    tiny["model"]["language"]["config"]["max_position_embeddings"] = POSITIONS
    tiny["model"]["tokenizer"] = str(SHIPPED / "train/tiny/tokenizer.json")
    small = {"system_prompt": None, "sequence_length": POSITIONS, "repeats": {"captioner": None}, "stop": 1_000_000}
    tiny |= {"steps": STEPS, "run": {"device": "cpu"}, "data": recipe["data"] | small}
    Path("captioner.yaml").write_text(yaml.safe_dump(tiny))


def test_the_captioner_of_stage_1_captions_in_stage_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_scenes(tmp_path / "shards/00000000.tar", 0)
    more = write_scenes(tmp_path / "more-shards/00000000.tar", 100)
    monkeypatch.chdir(tmp_path)
    for name in ("stage1_grounded", "conversations", "captioner", "stage2", "captions"):
        run("recipe", "copy", f"kale/{name}")
    with running_server(models=(MODEL,)) as server:
        settings = {"captions": {"base_url": server.url}}
        change("stage1_grounded.yaml", run={"workers": 1, "settings": settings})
        run("annotate", "stage1_grounded.yaml", "--input", images, "--output", "stage1")
    render = ["render", "conversations", "stage1", "--recipe", "conversations.yaml", "--workers", 1]
    run(*render, "--output", "kale-conversations")
    asked = ["--input", "kale-conversations/data/*.parquet", "--images", images, "--name", "captioner"]
    run("ingest", "llava", *asked, "--workers", 1, "--output", "sets/captioner")
    write_training()
    run("train", "captioner.yaml", "--output", "runs/captioner")
    change("stage2.yaml", run={"workers": 1})
    run("annotate", "stage2.yaml", "--input", more, "--output", "stage2", "--trust-code", SHARDLOOM)
    assert verify("stage2") == (1, [])
    [manifest] = read_manifests(Folder("stage2")).values()
    assert manifest.fingerprints["captions.knowledge"].weights_sha256 == hash_weights(Path("runs/captioner/model"))
    found = rows(Path("stage2"))
    assert len(found) == IMAGES
    assert sum(len(row["boxes"]) for row in found) > IMAGES / 2, "the prompts have boxes in them"
    captions = [caption for row in found for caption in row["captions"]]
    assert [caption["name"] for caption in captions] == ["knowledge"] * IMAGES
    assert {caption["status"] for caption in captions} <= {"ok", "truncated"}
    assert all(caption["text"] and caption["prompt_tokens"] > 0 for caption in captions)
    run("evaluate", "captions", "stage2")
    run("render", "knowledge", "stage2", "--recipe", "captions.yaml", "--output", "kale-captions", "--workers", 1)
    whole = [caption["text"] for caption in captions if caption["status"] == "ok"]
    assert [row["caption"] for row in rows(Path("kale-captions"))] == whole
