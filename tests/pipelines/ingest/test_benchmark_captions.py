"""Captions of benchmarks with images in a folder: rows of other splits and lost images are quarantined by name."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from tests.conftest import jpeg
from tests.curation.sources.test_benchmark_captions import COCO, TEXTCAPS
from tests.pipelines.support.published import take_in
from tests.pipelines.support.sets import rows


def list_faults(output: Path) -> list[str]:
    files = sorted((output / "quarantine").glob("*.parquet"))
    return [row["reason"] for file in files for row in pq.read_table(file).to_pylist()]


def test_coco(tmp_path: Path) -> None:
    images = tmp_path / "train2014"
    images.mkdir()
    for number in range(3):
        (images / f"{number}.jpg").write_bytes(jpeg(number))
    splits = ["train", "test", "restval", "train"]
    found = [COCO | {"filename": f"{number}.jpg", "cocoid": number, "split": one} for number, one in enumerate(splits)]
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"images": found, "dataset": "coco"}))
    done = take_in("coco", str(tmp_path / "dataset_coco.json"), tmp_path / "out", str(tmp_path), format="parquet")
    assert (done.rows_in, done.rows_out) == (4, 2)
    assert [(row["text"], row["image"]["bytes"]) for row in rows(tmp_path / "out")] == [
        ("A restaurant has wooden tables.", jpeg(0)),
        ("A restaurant has wooden tables.", jpeg(2)),
    ]
    assert sorted(list_faults(tmp_path / "out")) == ["lost_image", "other_split"]


def test_textcaps(tmp_path: Path) -> None:
    (tmp_path / "0054c91397f2fe05.jpg").write_bytes(jpeg(0))
    entries = [TEXTCAPS, TEXTCAPS | {"caption_id": 2, "caption_str": "An exit sign."}]
    (tmp_path / "t.json").write_text(json.dumps({"dataset_type": "train", "data": entries}))
    done = take_in("textcaps", str(tmp_path / "t.json"), tmp_path / "out", str(tmp_path), format="parquet")
    assert (done.rows_in, done.rows_out) == (2, 2)
    assert [row["text"] for row in rows(tmp_path / "out")] == ["A sign says Exit.", "An exit sign."]
