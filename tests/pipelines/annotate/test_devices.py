"""Engines on a GPU whose workers would have none are refused before Ray is started."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.annotate.devices import check_devices
from pipelines.annotate.run import annotate
from pipelines.cluster.runner import ExecutionMode, Runner
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.recipes.base import RunOptions
from schemas.errors import UsageError
from tests.conftest import jpeg, write_shard

CLUSTER = Runner(RunOptions(), ExecutionMode.EXTERNAL_CLUSTER)
HERE = Runner(RunOptions(), ExecutionMode.LOCAL_CLUSTER)


def build_recipe(device: str, gpus: float, kind: str = "ocr", engine: str = "rapidocr", images: str = "x") -> Any:
    engines = {"tags": {"engine": "caption"}} if kind == "boxes" else {}
    engines[kind] = {"engine": engine, "settings": {"device": device}}
    resources = {kind: {"gpus": gpus}} if gpus else {}
    return AnnotateRecipe.model_validate({"input": images, "engines": engines, "run": {"resources": resources}})


@pytest.mark.parametrize(
    ("kind", "engine"),
    [("ocr", "rapidocr"), ("ocr", "paddleocr"), ("tags", "siglip"), ("tags", "ram"), ("boxes", "grounding_dino")],
)
def test_no_worker_gets_a_gpu(kind: str, engine: str) -> None:
    with pytest.raises(UsageError) as error:
        check_devices(build_recipe("cuda", 0, kind, engine), CLUSTER)
    assert str(error.value) == (
        f"engines.{kind}.settings.device is cuda, and no worker gets a GPU: set run.resources.{kind}.gpus, to 0.25 for "
        "four workers a GPU"
    )
    check_devices(build_recipe("cuda", 0, kind, engine), CLUSTER, [kind])  # type: ignore[list-item]
    check_devices(build_recipe("cuda", 0.25, kind, engine), CLUSTER)
    check_devices(build_recipe("cpu", 0, kind, engine), HERE)


def test_a_number_that_no_worker_sees() -> None:
    with pytest.raises(UsageError) as error:
        check_devices(build_recipe("cuda:1", 0.5), CLUSTER)
    assert str(error.value) == (
        "engines.ocr.settings.device is cuda:1, and each worker sees only the 0.5 GPUs of run.resources.ocr.gpus, "
        "counted from 0: set device to cuda; Ray chooses the GPU"
    )
    check_devices(build_recipe("cuda:0", 0.5), CLUSTER)
    check_devices(build_recipe("cuda:1", 2), CLUSTER)


def test_a_machine_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.engines.gpu.DRIVER_LIBRARY", "no-such-library.so.1")
    with pytest.raises(UsageError) as error:
        check_devices(build_recipe("cuda", 1), HERE)
    assert str(error.value) == (
        "engines.ocr.settings.device is cuda, and NVIDIA's driver shows no GPU on this machine: set it to cpu, or run "
        "on a cluster by run.address"
    )


def test_a_run_says_so_first(tmp_path: Path) -> None:
    write_shard(tmp_path / "00000000.tar", [jpeg(1)])
    with pytest.raises(UsageError, match=r"^engines\.ocr\.settings\.device is cuda, and no worker gets a GPU: "):
        annotate(build_recipe("cuda", 0, images=f"{tmp_path}/*.tar"), str(tmp_path / "out"))
    assert not (tmp_path / "out" / "manifests").exists()
