"""Captions that models wrote, with their claims, and samples that were ingested: the source's file and row."""

from pathlib import Path

import pytest

from pipelines.explain import ExplainOptions, explain
from pipelines.ingest.run import ingest
from pipelines.recipes.ingest import IngestRecipe, IngestRun
from pipelines.recipes.render import RenderRecipe
from pipelines.render.run import render_set
from schemas.records.box import Detection, detection_to_arrow
from schemas.records.tag import Tag, tag_to_arrow
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.captions import captioned, written
from tests.pipelines.support.sets import ALONE, join, rows

DOG = Detection("dog", "dog", (0.25, 0.5, 0.75, 1.0), 0.9)
KEY = "000000000000"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    (folder / "images").mkdir()
    write_shard(folder / "images/0.tar", [jpeg(0), jpeg(1)])
    found = {
        "tags": lambda _: [tag_to_arrow(Tag("dog", 0.5, "image"))],
        "boxes": lambda _: [detection_to_arrow(DOG)],
    }
    captions = {"knowledge": lambda _: written("A dog sleeps.")}
    captioned(f"{folder}/images/*.tar", folder / "annotations", captions, found)
    recipe = RenderRecipe(family="knowledge", input=f"{folder}/annotations", run=ALONE)
    render_set(recipe, f"{folder}/captions")
    join(f"{folder}/images/*.tar", folder / "captions", folder / "training")
    return folder


@pytest.mark.parametrize("name", ["annotations", "captions", "training"])
def test_a_claim_leads_to_the_box_the_tag_and_the_caption(folder: Path, name: str) -> None:
    key = rows(folder / "training", "index")[0]["key"] if name == "training" else KEY
    found = explain(f"{folder}/{name}", key)
    number = next(at for at, caption in enumerate(found.captions) if caption.text == "A dog sleeps.")
    spans = [span for span in found.spans if span.caption == number]
    whole = next(span for span in spans if not span.status)
    assert (whole.text, [one.stage for one in whole.detections]) == ("A dog sleeps.", ["captions.knowledge"])
    claim = next(span for span in spans if span.status)
    assert (claim.text, claim.status) == ("dog", "supported")
    assert [(one.column, one.number) for one in claim.detections] == [("boxes", 0), ("tags", 0), ("captions", 0)]
    assert claim.place is not None
    assert claim.place.pixels == (16, 24, 48, 48)


def test_a_document_leads_to_the_row_of_its_file(tmp_path: Path) -> None:
    files = []
    for number in range(2):
        path = tmp_path / f"{number}.jsonl"
        path.write_text("".join(f'{{"text": "text {number} {row}"}}\n' for row in range(5)))
        files.append(str(path))
    recipe = IngestRecipe(source="text", input=files, samples_per_shard=2, run=IngestRun(workers=1))
    ingest(recipe, f"{tmp_path}/set")
    seen = []
    for row in rows(tmp_path / "set", "index"):
        found = explain(f"{tmp_path}/set", row["key"])
        (text,) = found.captions
        step = found.steps[-1]
        file, number = Path(step.place), int(step.row.removeprefix("row "))
        assert [one.command for one in found.steps] == ["ingest", "source"]
        assert f'"{text.text}"' in file.read_text().splitlines()[number]
        seen.append((file.name, number))
    assert sorted(seen) == [(f"{number}.jsonl", row) for number in range(2) for row in range(5)]
    Path(files[0]).rename(tmp_path / "moved.jsonl")
    first = rows(tmp_path / "set", "index")[0]["key"]
    assert explain(f"{tmp_path}/set", first).notes == [
        f"the source file {files[0]} is not there now: pass --set source=FILE"
    ]
    moved = explain(f"{tmp_path}/set", first, ExplainOptions(sets={"source": f"{tmp_path}/moved.jsonl"}))
    assert (moved.notes, moved.steps[-1].place) == ([], f"{tmp_path}/moved.jsonl")
