"""The recipe that a caption set holds keeps its bytes: its hash is in every manifest, and resuming compares it."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.cli.app import main
from schemas.output_set.layout import read_manifests
from schemas.records.box import Detection
from schemas.storage.folder import Folder
from tests.pipelines.support.sets import annotation_set, grounding_set

OCR = """\
kind: render
family: ocr
input: annotations
granularities:
- 0
- 1
- 2
- 3
- 4
- 5
raw_caption: both
min_confidence: 0.0
min_lines: 1
"""
OCR_CHOSEN = """\
kind: render
family: ocr
input: annotations
granularities:
- 5
- 0
raw_caption: with
min_confidence: 0.5
min_lines: 2
"""
GROUNDING = """\
kind: render
family: grounding
input: annotations
granularities:
- 0
- 1
- 2
raw_caption: both
caption_from: null
caption_column: null
min_score: 0.0
min_boxes: 1
"""
CHOSEN = ["--granularity", "5", "--granularity", "0", "--raw-caption", "with"]
CHOSEN += ["--min-confidence", "0.5", "--min-lines", "2"]


@pytest.mark.parametrize(
    ("family", "flags", "expected", "sha256"),
    [
        ("ocr", [], OCR, "095425150dd5b244e2adaf1b5827534b8c0697e1f23036ea91edefa5d7d0c927"),
        ("ocr", CHOSEN, OCR_CHOSEN, "673ecd0278fe89a2f3c49c86f6c5a593e2d6b0813793dfd009aef6edce067de4"),
        ("grounding", [], GROUNDING, "c72a9acc5fe95f071e0108de940c7fd215cffb397511de35c83e93566e2f8953"),
    ],
)
def test_bytes_of_the_recipe(
    make_shards: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    flags: list[str],
    expected: str,
    sha256: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    images = make_shards(tmp_path / "images", 1, 4)
    if family == "ocr":
        annotation_set(images, tmp_path / "annotations")
    else:
        boxes = [Detection("dog", "dog", (0.0, 0.0, 1.0, 1.0), 0.5)]
        grounding_set(images, tmp_path / "annotations", lambda _: boxes, lambda _: [])
    with pytest.raises(SystemExit) as done:
        main(["render", family, "annotations", "--output", "out", "--workers", "1", *flags])
    assert done.value.code == 0
    stored = (tmp_path / "out/recipe.yaml").read_bytes()
    assert stored.decode() == expected
    assert hashlib.sha256(stored).hexdigest() == sha256
    assert {manifest.recipe_sha256 for manifest in read_manifests(Folder(str(tmp_path / "out"))).values()} == {sha256}
