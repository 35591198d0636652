"""What the page on clusters says is so: commands, files, recipe, arithmetic."""

import re

import pytest
import yaml
from typer.main import get_command

from pipelines.annotate.devices import check_devices
from pipelines.cli.app import app
from pipelines.cluster.runner import ExecutionMode, Runner
from pipelines.engines.listing import ENVIRONMENTS
from pipelines.engines.loader import check_settings, find_environment
from pipelines.recipes.annotate import AnnotateRecipe, AnnotateRun, ChunkOptions
from pipelines.recipes.base import RunOptions
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "cluster.md").read_text()
IMAGES = 200_000_000
CHUNK = ChunkOptions().pixels // (512 * 384)


def test_files_and_commands_exist() -> None:
    for path in re.findall(r"`(docker/[\w./-]+)`", PAGE):
        assert (REPOSITORY / path).is_file(), path
    commands = get_command(app).commands  # type: ignore[attr-defined]  # typed as any command
    assert set(re.findall(r"shardloom (\w+)", PAGE.replace("ray job", ""))) <= set(commands)
    assert set(re.findall(r"--build ([\w-]+)", PAGE)) <= set(ENVIRONMENTS)
    for module in re.findall(r"-m ([\w.]+)", PAGE):
        path = REPOSITORY / module.replace(".", "/")
        assert (path / "__main__.py").is_file() or path.with_suffix(".py").is_file(), module


def test_the_settings_are_those_of_the_manifest() -> None:
    [block, _] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    run = AnnotateRun.model_validate(yaml.safe_load(block)["run"])
    manifest = (REPOSITORY / "docker" / "kuberay" / "rayjob.yaml").read_text()
    recipe = yaml.safe_load(next(yaml.safe_load_all(manifest))["data"]["recipe.yaml"])
    given = AnnotateRun.model_validate(recipe["run"] | {"output": None})
    assert run == given


def test_the_recipe_of_ocr_on_gpus_is_one() -> None:
    [_, block] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    recipe = AnnotateRecipe.model_validate({"input": "x"} | yaml.safe_load(block))
    check_settings(recipe)
    assert find_environment("ocr", recipe.stages["ocr"]) == "onnxruntime-gpu"
    check_devices(recipe, Runner(RunOptions(), ExecutionMode.EXTERNAL_CLUSTER))


@pytest.mark.parametrize(
    ("text", "figure"),
    [
        ("about 26 TB", IMAGES * 131e3 / 1e12),
        ("20,000 tars", IMAGES / 10_000),
        ("1,234,568 chunks", IMAGES / CHUNK),
        ("331 images a second", IMAGES / (7 * 86_400)),
        ("43 MB/s", IMAGES / (7 * 86_400) * 131e3 / 1e6),
        ("415 bytes an image where images have 8.6 lines: 83 GB", IMAGES * 415 / 1e9),
        ("| 200 images/s | 278 |", IMAGES / 200 / 3600),
        ("| 2.5 images/s | 22,222 |", IMAGES / 2.5 / 3600),
        ("| 0.29 images/s | 191,571 |", IMAGES / 0.29 / 3600),
        ("a week on 132 cores", IMAGES / 2.5 / (7 * 86_400)),
        ("At 50 images/s of a GPU, an assumption, 200 million images are 1,111", IMAGES / 50 / 3600),
        ("589 core hours", IMAGES * 10.6e-3 / 3600),
        ("34.5 chunks/s", (1 - 0.069) / 0.0270),
        ("34.5 chunks/s = 5,586 images/s", (1 - 0.069) / 0.0270 * CHUNK),
        ("112 GPUs at 50 images/s each", (1 - 0.069) / 0.0270 * CHUNK / 50),
        ("2,234 cores of OCR at 2.5", (1 - 0.069) / 0.0270 * CHUNK / 2.5),
        ("9.3 core hours", IMAGES / CHUNK * 0.0270 / 3600),
        ("2.5 GB of memory at the 2.0 kB a chunk", IMAGES / CHUNK * 2.0e3 / 1e9),
        ("162 pictures of 512 x 384", CHUNK),
        ("331 / 162 = 2.0 chunks/s", IMAGES / (7 * 86_400) / CHUNK),
    ],
)
def test_arithmetic(text: str, figure: float) -> None:
    assert text in PAGE
    told = [number.replace(",", "").rstrip(".") for number in re.findall(r"\d[\d,]*\.?\d*", text)]
    rounded = [0.5 * 10.0 ** -len(number.partition(".")[2]) for number in told]
    near = [
        max(half, 0.0005 * figure) >= abs(float(number) - figure) for number, half in zip(told, rounded, strict=True)
    ]
    assert any(near), (told, figure)
