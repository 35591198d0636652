"""Sessions run where they are asked for, or there is none. Where a GPU is needed, its absence is what is tested."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import rapidocr

from curation.engines.ocr.rapidocr_settings import RapidOcrSettings
from curation.engines.ocr.runtime.onnx_sessions import CUDA, ENVIRONMENT, SessionMaker, plan_arena_bytes
from curation.engines.ocr.runtime.rapidocr import RapidOcr
from pipelines.environments.python import get_completion_mark, get_interpreter
from schemas.errors import UsageError
from tests.conftest import REPOSITORY
from tests.curation.engines.support.driver import build_driver

DETECTOR = Path(rapidocr.__file__).parent / "models/PP-OCRv6_det_small.onnx"
GIB = 1 << 30
CODE = """
import json, sys
from curation.engines.ocr.rapidocr_settings import RapidOcrSettings
from curation.engines.ocr.runtime.rapidocr import RapidOcr
from schemas.errors import UsageError
try:
    print(json.dumps(RapidOcr(RapidOcrSettings(device=sys.argv[1])).fingerprint.model_dump()))
except UsageError as error:
    print(error)
"""


def test_the_build_for_cpus_is_named() -> None:
    with pytest.raises(UsageError) as error:
        RapidOcr(RapidOcrSettings(device="cuda:1"))
    assert str(error.value) == (
        "rapidocr: asked for cuda:1, got CPUExecutionProvider: this environment's onnxruntime is the build for CPUs; "
        "run it in the environment onnxruntime-gpu (shardloom engines --build onnxruntime-gpu)"
    )


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_session_that_fell_back_to_the_cpu_is_refused() -> None:
    """ONNX Runtime makes it without an error."""
    maker = SessionMaker("rapidocr", "cpu", 2)
    assert maker.create(DETECTOR).get_providers() == ["CPUExecutionProvider"]
    maker.device, maker.provider = "cuda", CUDA
    with pytest.raises(UsageError) as error:
        maker.create(DETECTOR)
    start, _, end = str(error.value).partition("/")
    assert start == "rapidocr: asked for cuda, got CPUExecutionProvider: "
    assert "libonnxruntime_providers_cuda.so: cannot open shared object file" in end
    assert end.partition("; ")[2].startswith("pass device=cpu, or run it on a node whose `nvidia-smi` shows a GPU")


def test_memory_is_shared_by_workers_and_their_sessions() -> None:
    quarter = plan_arena_bytes(80 * GIB, 0.25, 2)
    assert quarter == (20 * GIB - (600 << 20)) // 2
    assert 4 * (2 * quarter + (600 << 20)) <= 80 * GIB
    assert plan_arena_bytes(16 * GIB, 0.03, 2) < 0


def test_devices_are_checked() -> None:
    assert [RapidOcrSettings(device=device).device for device in ("cpu", "cuda", "cuda:12")] == [
        "cpu",
        "cuda",
        "cuda:12",
    ]
    for wrong in ("gpu", "cuda:", "cuda:x", "cuda:1,2", "auto"):
        with pytest.raises(ValueError, match="device"):
            RapidOcrSettings(device=wrong)


@pytest.mark.slow
@pytest.mark.skipif(not get_completion_mark(ENVIRONMENT).exists(), reason=f"shardloom engines --build {ENVIRONMENT}")
def test_in_the_environment_of_gpus(tmp_path: Path) -> None:
    """It reads on a CPU too, and has no GPU here, or one whose driver is only a stand-in."""

    def run(device: str, **variables: str) -> str:
        command = [str(get_interpreter(ENVIRONMENT)), "-c", CODE, device]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **variables}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.stderr == ""
        assert done.stdout.count("\n") == 1
        return done.stdout.strip()

    assert json.loads(run("cpu")) == RapidOcr().fingerprint.model_dump(), "the same engine, by the same versions"
    build_driver(tmp_path, [16 * GIB])
    driver = str(tmp_path)
    advice = "; pass device=cpu, or run it on a node whose `nvidia-smi` shows a GPU and a driver for CUDA 13.0"
    assert run("cuda", LD_LIBRARY_PATH=driver, CUDA_VISIBLE_DEVICES="0").endswith(
        f"libonnxruntime_providers_cuda.so: undefined symbol: cuTensorMapEncodeTiled{advice}"
    )
    asked = "rapidocr: asked for cuda:1, got CPUExecutionProvider: "
    assert run("cuda:1", LD_LIBRARY_PATH=driver) == f"{asked}this process sees 1 GPU and no number 1{advice}"
    assert run("cuda", LD_LIBRARY_PATH=driver, SHARDLOOM_GPU_SHARE="0.05") == (
        "rapidocr: 0.05 of a GPU of 16384 MiB leaves 109 MiB for each of 2 networks, which need 256: "
        "raise gpus in run.resources"
    )
