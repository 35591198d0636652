"""Base captions lose the sentences that annotations contradict, if the recipe says so, and each loss is counted."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli.app import main
from pipelines.recipes.render import RenderRecipe
from pipelines.render.run import preview_record, render_set
from schemas.errors import UsageError
from schemas.layouts.blip3_grounding import parse_captions
from schemas.records.box import BOXES_COLUMN, Detection, detection_to_arrow
from schemas.records.tag import TAGS_COLUMN, Tag, tag_to_arrow
from schemas.records.text_line import OCR_COLUMN, line_to_arrow
from tests.conftest import jpeg
from tests.pipelines.support.sets import ALONE, annotated, line, rows, write_samples

CAPTIONS = {
    "0": 'A dog sits. A cat sleeps. The sign says "EXIT". Mr. Low waits.',
    "1": "A cat sleeps.",
    "2": 'A dog. The label reads "SALE".',
    "3": "A dog.",
}
KEPT = {"0": 'A dog sits. The sign says "EXIT". Mr. Low waits.', "1": "", "2": "A dog.", "3": "A dog."}


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    """The recipe of a set that shows a dog of score 0.25 and a sign, and was asked for a cat as well."""
    samples = [(key, jpeg(int(key)), "Alt text", {"uid": f"u{key}"}) for key in CAPTIONS]
    images = write_samples(tmp_path / "images/0.tar", samples)
    dog = detection_to_arrow(Detection("dog", "dog", (0.25, 0.25, 0.75, 0.75), 0.25))
    door = detection_to_arrow(Detection("door", "door", (0.25, 0.25, 0.75, 0.75), 0.75))
    asked = [tag_to_arrow(Tag(name, 1.0, "image")) for name in ("dog", "cat", "door")]
    columns = {
        "ocr": (OCR_COLUMN, lambda _: [line_to_arrow(line("EXIT"))]),
        "tags": (TAGS_COLUMN, lambda _: asked),
        "boxes": (BOXES_COLUMN, lambda _: [door, dog]),
    }
    annotations = annotated(images, tmp_path / "set", columns)  # type: ignore[arg-type]
    table = pa.table({"uid": [f"u{key}" for key in CAPTIONS], "caption": list(CAPTIONS.values())})
    pq.write_table(table, tmp_path / "dense.parquet")
    values = {"family": "grounding", "input": str(annotations), "caption_from": str(tmp_path / "dense.parquet")}
    return values | {"granularities": [0], "raw_caption": "without", "run": ALONE}


def test_contradicted_sentences_are_dropped_and_counted(recipe: dict[str, Any], tmp_path: Path) -> None:
    totals = render_set(RenderRecipe(**recipe, drop_contradicted=True), str(tmp_path / "out"))
    assert {row["key"]: row["cogvlm_caption"] for row in rows(tmp_path / "out")} == KEPT
    assert totals.counts == {
        "captions": 4,
        "sentences": 8,
        "sentences_dropped": 3,
        "captions_shortened": 2,
        "captions_emptied": 1,
    }
    texts = {row["key"]: parse_captions(row["captions"])[0].text for row in rows(tmp_path / "out")}
    assert texts["2"] == "A dog (in the center). The image contains door (in the center)"
    assert texts["1"] == "The image contains door (in the center), dog (in the center)"
    assert preview_record(RenderRecipe(**recipe, drop_contradicted=True), "2")[0].text == texts["2"]


def test_boxes_below_the_floor_are_evidence(recipe: dict[str, Any], tmp_path: Path) -> None:
    render_set(RenderRecipe(**recipe, drop_contradicted=True, min_score=0.5), str(tmp_path / "out"))
    assert {row["key"]: row["cogvlm_caption"] for row in rows(tmp_path / "out")} == KEPT


def test_without_the_option_captions_stay(recipe: dict[str, Any], tmp_path: Path) -> None:
    totals = render_set(RenderRecipe(**recipe), str(tmp_path / "out"))
    assert {row["key"]: row["cogvlm_caption"] for row in rows(tmp_path / "out")} == CAPTIONS
    assert totals.counts == {"captions": 4}


def test_the_command_stores_the_option(recipe: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    flags = ["--caption-from", recipe["caption_from"], "--drop-contradicted", "-o", str(out)]
    with pytest.raises(SystemExit) as done:
        main(["render", "grounding", recipe["input"], *flags])
    assert done.value.code == 0
    assert "drop_contradicted: true\n" in (out / "recipe.yaml").read_text()
    assert {row["key"]: row["cogvlm_caption"] for row in rows(out)} == KEPT


def test_alt_texts_are_never_shortened(recipe: dict[str, Any], tmp_path: Path) -> None:
    del recipe["caption_from"]
    with pytest.raises(
        UsageError, match=r"drop_contradicted: the alt text is kept as it is: pass .* or caption_name as well"
    ):
        render_set(RenderRecipe(**recipe, drop_contradicted=True), str(tmp_path / "out"))
