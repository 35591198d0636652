"""What is missing is one line that names the extra, and what needs no extra runs without any."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli.app import main
from pipelines.engines.loader import check_engines
from pipelines.recipes.annotate import EngineOptions
from schemas import extras
from schemas.errors import UsageError
from schemas.extras import EXTRAS, require_extra
from schemas.storage.folder import Folder
from tests.conftest import REPOSITORY, jpeg, write_shard
from tests.pipelines.support.sets import annotation_set, caption_set, line

WITHOUT = """
import importlib.abc, sys
from schemas.extras import EXTRAS

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {module for modules in EXTRAS.values() for module in modules}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from pipelines.cli.app import main
main(sys.argv[1:])
"""


@pytest.fixture
def nothing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)


def test_what_is_installed_is_enough() -> None:
    for extra in EXTRAS:
        require_extra(extra, "this")


@pytest.mark.usefixtures("nothing_extra")
def test_the_extra_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"^ocr by rapidocr needs .*: pip install 'shardloom\[ocr\]'$"):
        check_engines({"ocr": EngineOptions(engine="rapidocr")})
    with pytest.raises(
        UsageError, match=r"^boxes by grounding_dino needs torch, .*: pip install 'shardloom\[train\]'$"
    ):
        check_engines({"boxes": EngineOptions(engine="grounding_dino")})
    with pytest.raises(UsageError, match=r"^s3://bucket/set needs s3fs: pip install 'shardloom\[s3\]'$"):
        Folder("s3://bucket/set").exists("a")
    for command in (["demo", "-o", str(tmp_path / "demo")], ["train", "x.yaml"], ["generate", "model"]):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 2
        assert "pip install 'shardloom[" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_reading_rendering_joining_mixing_and_verifying_need_no_extra(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_shard(tmp_path / "images/00000000.tar", [jpeg(0), jpeg(1)])
    annotations = annotation_set(f"{tmp_path}/images/*.tar", tmp_path / "annotations", lambda _: [line("OPEN")])
    caption_set(annotations, tmp_path / "captions")
    (tmp_path / "mix.yaml").write_text("kind: mix\nsources: {a: joined, b: plain}\nweights: {a: 1, b: 1}\n")
    for command in (
        "recipe copy annotate",
        "verify annotations",
        "render ocr annotations -o rendered --workers 1 --granularity 0",
        "shard --images images/*.tar --captions captions -o joined --workers 1",
        "ingest datacomp -i images/*.tar -o plain --workers 1",
        "mix mix.yaml --plan",
        "stats joined",
    ):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT, *command.split()],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
