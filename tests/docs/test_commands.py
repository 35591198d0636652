"""The commands of the training page run as they stand; README's and those of plug-ins have tests of their own.

The job array of the cluster page is a script that a shell can read, with options that the command has.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipelines.cli.commands import COMMANDS, LazyCommand
from tests.conftest import REPOSITORY
from tests.pipelines.support.sets import annotation_set, caption_set, join


def test_job_array(tmp_path: Path) -> None:
    block = re.search(r"```sh\n(#!/bin/bash\n#SBATCH .*?)```", (REPOSITORY / "docs/cluster.md").read_text(), re.DOTALL)
    assert block is not None
    (script := tmp_path / "array.sh").write_text(block[1])
    (tmp_path / "srun").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    said = subprocess.run(["bash", script], env=environment, capture_output=True, text=True, check=True).stdout
    program, name, *arguments = said.splitlines()
    assert (program, name) == ("shardloom", "annotate")
    given = LazyCommand(name, COMMANDS[name]).load().make_context(name, arguments).params
    assert {key: value for key, value in given.items() if value} == {
        "what": "recipe.yaml",
        "claim": True,
        "output": "s3://bucket/annotations",
        "workers": 16,
    }


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
