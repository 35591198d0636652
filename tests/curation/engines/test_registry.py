"""The engines that ship: found by looking, and looked at without loading anything heavy."""

import json
import subprocess
import sys

import pytest

from curation.engines.registry import ENGINES, find_default_engine, find_engine, find_engines
from schemas.errors import UsageError
from tests.conftest import REPOSITORY

HEAVY = ["torch", "transformers", "cv2", "onnxruntime", "rapidocr", "ahocorasick", "lemminflect", "ray", "polars"]


def test_the_engines_that_ship() -> None:
    """By kind, of each first the one that a kind alone stands for."""
    assert [(engine.kind.name, engine.name, engine.is_default) for engine in ENGINES.shipped.values()] == [
        ("ocr", "rapidocr", True),
        ("ocr", "paddleocr", False),
        ("tags", "caption", True),
        ("tags", "ram", False),
        ("tags", "siglip", False),
        ("boxes", "grounding_dino", True),
        ("boxes", "groundingdino-py", False),
        ("captions", "endpoint", False),
        ("captions", "transformers", False),
    ]
    assert [engine.name for engine in find_engines("tags")] == ["caption", "ram", "siglip"]
    assert find_default_engine("boxes") == "grounding_dino"
    assert [name for name, engine in ENGINES.shipped.items() if engine.needs_pixels is False] == ["caption"]


def test_an_engine_of_another_kind() -> None:
    with pytest.raises(UsageError) as error:
        find_engine("boxes", "siglip")
    assert str(error.value) == "engines.boxes: the engine siglip annotates tags"
    with pytest.raises(UsageError) as error:
        find_engine("boxes", "yolo")
    assert str(error.value) == ("engines.boxes: no engine is named 'yolo': use one of grounding_dino, groundingdino-py")


def test_looking_at_engines_loads_no_heavy_library() -> None:
    code = (
        "import importlib, json, pkgutil, sys\n"
        "from curation.engines.registry import ENGINES\n"
        "list(ENGINES.shipped)\n"
        "for kind in ('ocr', 'tags', 'boxes', 'captions'):\n"
        "    package = importlib.import_module(f'curation.engines.{kind}')\n"
        "    for module in pkgutil.iter_modules(package.__path__):\n"
        "        importlib.import_module(f'{package.__name__}.{module.name}')\n"
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == []
