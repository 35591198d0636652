"""`shardloom engines --fetch`: published weights from a hub, with nothing that could run code."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from curation.engines.boxes.grounding_dino_settings import GroundingDinoSettings
from curation.engines.boxes.grounding_dino_weights import SHIPPED, resolve_weights_folder
from curation.engines.published_weights import PUBLISHED
from tests.curation.engines.support.hub import running_hub
from tests.pipelines.support.drivers import free_ports
from tests.pipelines.support.sets import shardloom

GROUNDING_DINO = PUBLISHED["grounding-dino"]
FILES = {
    name: (SHIPPED / name).read_bytes()
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
} | {"model.safetensors": (SHIPPED / "model.safetensors").read_bytes()}
OTHERS = {"pytorch_model.bin": b"a pickle", "code.py": b"print()", "README.md": b"# Model", ".gitattributes": b""}


def fetch(endpoint: str, folder: Path, *flags: str) -> "subprocess.CompletedProcess[str]":
    names = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment = names | {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "cache")}
    return shardloom("engines", "--fetch", "grounding-dino", *flags, cwd=folder, env=environment)


def test_weights_are_fetched_once_and_without_pickles(tmp_path: Path) -> None:
    with running_hub(GROUNDING_DINO.repository, GROUNDING_DINO.revision, FILES | OTHERS) as hub:
        done = fetch(hub.address, tmp_path)
        assert (done.returncode, done.stdout) == (0, "grounding-dino\n"), done.stderr
        first, last = done.stderr.splitlines()
        assert first == "fetching IDEA-Research/grounding-dino-tiny at a2bb814dd30d into grounding-dino"
        use = "use it by shardloom annotate tags,boxes --weights boxes=grounding-dino"
        assert last == f"fetched: {use}"
        assert sorted(hub.sent) == sorted(FILES)
        fetched = tmp_path / "grounding-dino"
        assert {path.name: path.read_bytes() for path in fetched.iterdir() if path.is_file()} == FILES
        again = fetch(hub.address, tmp_path, "--json")
        assert again.stderr == f"it was there already: {use}\n"
        assert json.loads(again.stdout)["folder"] == "grounding-dino"
        assert sorted(hub.sent) == sorted(FILES)
    settings = GroundingDinoSettings(weights=str(fetched))
    assert resolve_weights_folder(settings.weights, settings.allow_download) == fetched


def test_a_fetch_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    with running_hub(GROUNDING_DINO.repository, GROUNDING_DINO.revision, FILES) as hub:
        assert fetch(hub.address, tmp_path, "-o", "weights").returncode == 0
        (folder / "vocab.txt").unlink()
        (folder / "tokenizer.json").unlink()
        done = fetch(hub.address, tmp_path, "-o", "weights")
        assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == FILES


@pytest.mark.parametrize(
    ("files", "code", "line"),
    [
        (None, 1, r"cannot fetch IDEA-Research/grounding-dino-tiny: no hub answers at http://127.0.0.1:{port} "),
        ({}, 1, "cannot fetch IDEA-Research/grounding-dino-tiny: "),
        ({"config.json": FILES["config.json"]}, 2, "grounding_dino: grounding-dino holds no tokenizer; pass "),
    ],
)
def test_what_cannot_be_fetched_is_one_line(
    files: dict[str, bytes] | None, code: int, line: str, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    if files is None:
        done = fetch(f"http://127.0.0.1:{port}", tmp_path)
    else:
        revision = GROUNDING_DINO.revision if files else "another"
        with running_hub(GROUNDING_DINO.repository, revision, files) as hub:
            done = fetch(hub.address, tmp_path)
    _, last = done.stderr.splitlines()
    assert last.startswith(f"error: {line.format(port=port)}")
    assert (done.returncode, done.stdout) == (code, "")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "grounding-dino").mkdir()
    (tmp_path / "grounding-dino/config.json").write_text("{}")
    done = fetch("http://127.0.0.1:1", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: grounding-dino holds something else (grounding_dino: cannot read ")
    assert [path.name for path in (tmp_path / "grounding-dino").iterdir()] == ["config.json"]
