"""A folder for FiftyOne: its documents, and the images as they were."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.view.exports.fiftyone import write_fiftyone
from pipelines.view.options import ViewOptions
from schemas.errors import UsageError
from tests.conftest import jpeg
from tests.pipelines.support.sets import in_process
from tests.pipelines.support.views import DENSE, make_set


def export(annotations: Path, **options: Any) -> list[dict[str, Any]]:
    folder = annotations.parent / f"export-{len(list(annotations.parent.iterdir()))}"
    totals = write_fiftyone(str(annotations), str(folder), ViewOptions.model_validate(options))
    samples: list[dict[str, Any]] = json.loads((folder / "samples.json").read_text())["samples"]
    assert totals.samples == len(samples)
    assert all((folder / sample["filepath"]).is_file() for sample in samples)
    return samples


def test_all_rows(tmp_path: Path) -> None:
    annotations = make_set(tmp_path, ["a dog", ""])
    totals = write_fiftyone(str(annotations), str(tmp_path / "out"))
    assert (totals.samples, totals.boxes, totals.lines, totals.without_image) == (2, 2, 2, 0)
    assert json.loads((tmp_path / "out/metadata.json").read_text()) == {
        "media_type": "image",
        "info": {"description": str(annotations)},
    }
    first, second = json.loads((tmp_path / "out/samples.json").read_text())["samples"]
    assert first == {
        "filepath": "data/00000000/000000000000.jpg",
        "tags": [],
        "metadata": {"_cls": "ImageMetadata", "size_bytes": len(jpeg(0)), "width": 64, "height": 48},
        "shard": "00000000",
        "key": "000000000000",
        "uid": "u0",
        "alt_text": "a dog",
        "boxes": {
            "_cls": "Detections",
            "detections": [
                {
                    "_cls": "Detection",
                    "label": "dog",
                    "bounding_box": pytest.approx([0.1, 0.2, 0.2, 0.2]),
                    "confidence": pytest.approx(0.9),
                }
            ],
        },
        "ocr": {
            "_cls": "Polylines",
            "polylines": [
                {
                    "_cls": "Polyline",
                    "label": "STOP",
                    "confidence": pytest.approx(0.8),
                    "points": [[pytest.approx(point) for point in ([0.5, 0.5], [0.9, 0.55], [0.9, 0.75], [0.5, 0.7])]],
                    "closed": True,
                    "filled": False,
                }
            ],
        },
        "image_tags": {
            "_cls": "Classifications",
            "classifications": [
                {"_cls": "Classification", "label": "dog", "confidence": 1.0},
                {"_cls": "Classification", "label": "cat", "confidence": pytest.approx(0.7)},
            ],
        },
        "caption_dense": DENSE,
    }
    assert "alt_text" not in second
    assert (tmp_path / "out/data/00000000/000000000001.jpg").read_bytes() == jpeg(1)


def test_chosen_rows(tmp_path: Path) -> None:
    annotations = make_set(tmp_path, ["dog", "cat", "cow"])
    assert [one["uid"] for one in export(annotations, where="caption = 'cat'")] == ["u1"]
    assert [one["uid"] for one in export(annotations, key="u2")] == ["u2"]
    assert len(export(annotations, sample=2)) == 2


def test_images_that_have_changed_are_left_out(tmp_path: Path) -> None:
    annotations = make_set(tmp_path, ["dog", "cat"])
    (other := tmp_path / "other").mkdir()
    make_set(other, ["dog"])
    totals = write_fiftyone(
        str(annotations), str(tmp_path / "out"), ViewOptions(images=[f"{other}/images/00000000.tar"])
    )
    assert (totals.samples, totals.without_image) == (1, 1)
    (tmp_path / "images/00000000.tar").unlink()
    with pytest.raises(UsageError, match=r"annotations: nothing can be exported: cannot read .*00000000\.tar"):
        write_fiftyone(str(annotations), str(tmp_path / "none"))


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotations = make_set(tmp_path, ["dog", "cat"])
    monkeypatch.chdir(tmp_path)
    done = in_process("view", annotations, "--format", "fiftyone")
    line = "annotations-fiftyone: 2 samples, 2 boxes, 2 lines\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, line, "")
    done = in_process("view", annotations, "--format", "fiftyone")
    refusal = "error: --output annotations-fiftyone: it is not empty: pass a new folder\n"
    assert (done.returncode, done.stderr) == (2, refusal)
