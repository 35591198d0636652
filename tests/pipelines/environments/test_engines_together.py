"""Engines of three environments in one pass: two foreign ones at a time, each run by its own Python, beside ours."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rapidocr
from PIL import Image, ImageDraw, ImageFont

from curation.engines.kinds import EngineKind
from pipelines.annotate.run import annotate
from pipelines.environments.python import get_completion_mark
from pipelines.recipes.annotate import AnnotateRecipe, AnnotateRun, EngineOptions
from pipelines.verify.run import verify
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from schemas.tar.writer import TarWriter
from tests.curation.engines.boxes.test_groundingdino_py import weights

__all__ = ["weights"]  # the fixture: random weights, as transformers saves them

MODELS = str(Path(rapidocr.__file__).parent / "models")
TEXTS = ("SHARDLOOM", "OPEN 24h", "Platform 9", "Fresh bread")
LACKING = [name for name in ("paddleocr", "groundingdino-py") if not get_completion_mark(name).exists()]
ALL = {"box_threshold": 0.0, "text_threshold": 0.0, "nms_iou": 1.0, "max_area": 1.0, "min_side": 0.0, "device": "cpu"}


def picture(text: str) -> bytes:
    image = Image.new("RGB", (360, 240), "white")
    ImageDraw.Draw(image).text((20, 100), text, fill="black", font=ImageFont.load_default(size=32))
    image.save(file := BytesIO(), "JPEG", quality=95)
    return file.getvalue()


def corners(box: dict[str, Any]) -> list[float]:
    return [box[name] for name in ("x1", "y1", "x2", "y2")]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.xdist_group("ray")
@pytest.mark.skipif(bool(LACKING), reason=f"shardloom engines --build {LACKING}")
def test_two_foreign_environments_at_once(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with (tmp_path / "in" / "00000000.tar").open("wb") as file:
        writer = TarWriter(file)
        for number, text in enumerate(TEXTS):
            writer.add(f"{number:04d}.jpg", picture(text))
            writer.add(f"{number:04d}.txt", b"A cat by a house")
            writer.add(f"{number:04d}.json", b"{}")
        writer.close()
    (tmp_path / "words.txt").write_text("cat\nhouse\n")  # which the tiny tokenizer knows

    def rows(name: str, ocr: EngineOptions, boxes: str) -> list[dict[str, Any]]:
        engines: dict[EngineKind, EngineOptions] = {
            "tags": EngineOptions(engine="caption", settings={"vocabulary": str(tmp_path / "words.txt")}),
            "ocr": ocr,
            "boxes": EngineOptions(engine=boxes, settings=ALL | {"weights": str(weights)}),
        }
        recipe = AnnotateRecipe(input=[f"{tmp_path}/in/*.tar"], engines=engines, run=AnnotateRun(workers=1))
        annotate(recipe, str(tmp_path / name))
        assert verify(str(tmp_path / name)) == (1, [])
        return pq.read_table(tmp_path / name / "data" / "00000000.parquet").to_pylist()

    foreign = rows("foreign", EngineOptions(engine="paddleocr", settings={"weights": MODELS}), "groundingdino-py")
    ours = rows("ours", EngineOptions(engine="rapidocr"), "grounding_dino")
    [manifest] = read_manifests(Folder(str(tmp_path / "foreign"))).values()
    versions = {kind: engine.version for kind, engine in manifest.fingerprints.items()}
    assert "opencv-contrib-python 4.10.0.84" in versions["ocr"]
    assert "transformers 4.57.6" in versions["boxes"]
    assert [[line["text"] for line in row["ocr"]] for row in foreign] == [[text] for text in TEXTS]
    for mine, theirs in zip(foreign, ours, strict=True):
        assert [tag["name"] for tag in mine["tags"]] == ["cat", "house"]
        assert [line["text"] for line in mine["ocr"]] == [line["text"] for line in theirs["ocr"]]
        assert len(mine["boxes"]) == len(theirs["boxes"]) == 20
        assert {box["label"] for box in mine["boxes"]} == {box["label"] for box in theirs["boxes"]}
        for one in mine["boxes"]:  # queries of nearly equal scores may change places
            assert min(np.abs(np.subtract(corners(one), corners(twin))).max() for twin in theirs["boxes"]) < 1e-3
