"""The commands of the training page run as they stand; README's and those of plug-ins have tests of their own."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.pipelines.support.sets import annotation_set, caption_set, join


@pytest.mark.slow
def test_training(make_shards: Callable[..., str], tmp_path: Path) -> None:
    images = make_shards(tmp_path / "images", shards=1, samples=24)
    join(images, caption_set(annotation_set(images, tmp_path / "annotations"), tmp_path / "captions"), tmp_path / "set")
    recipe = yaml.safe_load((REPOSITORY / "recipes/train/tiny.yaml").read_text())
    recipe["model"]["tokenizer"] = str(REPOSITORY / "recipes/train/tiny/tokenizer.json")
    recipe["data"] |= {"sources": {"ocr": "set"}, "weights": {"ocr": 1}, "repeats": {"ocr": None}}
    recipe |= {"steps": 2, "global_batch_size": 8, "micro_batch_size": 1}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(recipe))
    block = re.search(r"```sh\n(.*?)```", (REPOSITORY / "docs/training.md").read_text(), re.DOTALL)
    assert block is not None
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}
    for number, line in enumerate(block[1].splitlines()):
        command = line.replace("--output run", f"--output run-{number}")  # two runs have two folders
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
        assert (tmp_path / f"run-{number}/model/model.safetensors").is_file()
