"""Boxes and lines as COCO's JSON: the numbers that tools expect, of the rows that were chosen."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.view.exports.coco import write_coco
from pipelines.view.options import ViewOptions
from schemas.errors import UsageError
from tests.pipelines.support.sets import caption_set, in_process
from tests.pipelines.support.views import make_set

TEXTS = ["dog", "cat", "cow"]


def export(annotations: Path, **options: Any) -> dict[str, Any]:
    path = annotations.parent / "coco.json"
    totals = write_coco(str(annotations), str(path), ViewOptions.model_validate(options))
    found: dict[str, Any] = json.loads(path.read_text())
    counts = {name: len(found[name]) for name in ("images", "annotations", "categories")}
    assert totals.to_dict() == {"export": str(path)} | counts
    return found


def test_all_rows(tmp_path: Path) -> None:
    annotations = make_set(tmp_path, TEXTS)
    found = export(annotations)
    assert found["info"] == {"description": str(annotations)}
    assert found["images"] == [
        {"id": number + 1, "file_name": f"00000000/{number:012d}", "width": 64, "height": 48} for number in range(3)
    ]
    assert found["categories"] == [{"id": 1, "name": "dog"}, {"id": 2, "name": "text"}]
    assert found["annotations"][:2] == [
        {
            **{"id": 1, "image_id": 1, "category_id": 1, "bbox": [6.4, 9.6, 12.8, 9.6], "area": 122.88},
            **{"iscrowd": 0, "score": 0.9},
        },
        {
            **{"id": 2, "image_id": 1, "category_id": 2, "bbox": [32.0, 24.0, 25.6, 12.0], "area": 307.2},
            **{"iscrowd": 0, "score": 0.8},
            "segmentation": [[32.0, 24.0, 57.6, 26.4, 57.6, 36.0, 32.0, 33.6]],
            "utf8_string": "STOP",
        },
    ]
    assert [one["image_id"] for one in found["annotations"]] == [1, 1, 2, 2, 3, 3]


def test_chosen_rows(tmp_path: Path) -> None:
    annotations = make_set(tmp_path, TEXTS)
    for options in ({"where": "caption = 'cat'"}, {"key": "u1"}):
        assert [one["file_name"] for one in export(annotations, **options)["images"]] == ["00000000/000000000001"]
    assert len(export(annotations, sample=2)["images"]) == 2
    assert export(annotations, where="width > 64")["annotations"] == []


def test_wrong_use(tmp_path: Path) -> None:
    annotations = make_set(tmp_path, TEXTS)
    with pytest.raises(UsageError, match=r"an export in COCO's layout is a file that ends with \.json"):
        write_coco(str(annotations), str(tmp_path / "x.html"))
    captions = caption_set(annotations, tmp_path / "captions")
    with pytest.raises(
        UsageError, match="captions is not an annotation set, which alone has boxes: its kind is 'render'"
    ):
        write_coco(str(captions), str(tmp_path / "x.json"))


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotations = make_set(tmp_path, TEXTS)
    monkeypatch.chdir(tmp_path)
    done = in_process("view", annotations, "--format", "coco")
    line = "annotations.json: 3 images, 6 annotations, 2 categories\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, line, "")
    done = in_process("view", annotations, "--format", "coco", "--images", "x.tar")
    assert done.stderr == "error: --images is for pages and fiftyone: --format coco has no images\n"
    done = in_process("view", annotations, "--format", "png")
    assert done.stderr == "error: --format: 'png' is no format: use html, coco or fiftyone\n"
