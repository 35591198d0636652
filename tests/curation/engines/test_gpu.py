"""The GPUs that a process sees, and its share of one. A library that is made here stands in for NVIDIA's driver."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from curation.engines.gpu import get_gpu_share, limit_gpus, list_gpu_bytes
from tests.conftest import REPOSITORY
from tests.curation.engines.support.driver import build_driver

GIB = 1 << 30


def list_with_driver(folder: Path, sizes: list[int]) -> str:
    """What a process says whose driver has GPUs of these bytes."""
    build_driver(folder, sizes)
    code = "from curation.engines.gpu import list_gpu_bytes; print(list_gpu_bytes())"
    environment = {"LD_LIBRARY_PATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize("sizes", [[], [80 * GIB], [16 * GIB, 141 * GIB - 1]])
def test_the_driver_s_gpus(sizes: list[int], tmp_path: Path) -> None:
    assert list_with_driver(tmp_path, sizes) == f"{sizes}\n"


def test_without_a_driver_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.engines.gpu.DRIVER_LIBRARY", "no-such-library.so.1")
    assert list_gpu_bytes() == []


@pytest.mark.parametrize(("gpus", "share", "visible"), [(0.25, 0.25, "3"), (2.0, 1.0, "3"), (0.0, 1.0, "")])
def test_a_worker_s_share(gpus: float, share: float, visible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("SHARDLOOM_GPU_SHARE", "0.5")  # of another engine
    limit_gpus(gpus)
    assert get_gpu_share() == share
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible
