"""Sets of chosen rows, same-named shards, texts alone, and sources that have changed: each leads to its own row."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.explain import ExplainOptions, explain
from pipelines.ingest.run import ingest
from pipelines.mix.run import mix
from pipelines.recipes.ingest import IngestRecipe, IngestRun
from pipelines.recipes.mix import MixRecipe
from schemas.errors import ShardloomError, UsageError
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.published import take_in
from tests.pipelines.support.sets import ALONE, annotation_set, caption_set, join, line, rows, write_samples
from tests.pipelines.support.viewed import make_conversations


def write_images(folder: Path, shards: int = 2, samples: int = 4) -> str:
    (folder / "images").mkdir(parents=True)
    for shard in range(shards):
        images = [jpeg(10 * shard + number) for number in range(samples)]
        write_shard(folder / f"images/{shard}.tar", images, first=10 * shard)
    return f"{folder}/images/*.tar"


@pytest.mark.parametrize("chosen", [{"limit": 3}, {"sample": 3}, {"where": "array_length(ocr) > 1"}], ids=str)
def test_captions_of_chosen_rows(tmp_path: Path, chosen: dict[str, object]) -> None:
    images = write_images(tmp_path)
    annotation_set(images, tmp_path / "annotations", lambda key: [line(key)] * (1 + int(key) % 2))
    caption_set(tmp_path / "annotations", tmp_path / "captions", **chosen)
    join(images, tmp_path / "captions", tmp_path / "training")
    keys = [row["key"] for row in rows(tmp_path / "captions")]
    assert 3 <= len(keys) < 8
    for key in keys:
        found = explain(f"{tmp_path}/captions", key)
        assert {one.text for span in found.spans for one in span.detections} == {key}
        assert found.image == jpeg(int(key))
    for row in rows(tmp_path / "training", "index"):
        found = explain(f"{tmp_path}/training", row["key"])
        (text,) = {one.text for span in found.spans for one in span.detections}
        assert (found.image, found.steps[-1].row) == (jpeg(int(text)), f"sample {text}")


@pytest.mark.parametrize("chosen", [{"limit": 7}, {"sample": 5}], ids=str)
def test_chosen_rows_of_a_source(tmp_path: Path, chosen: dict[str, object]) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(f'{{"text": "text {number}"}}\n' for number in range(12)))
    recipe = IngestRecipe(source="text", input=[str(path)], samples_per_shard=4, run=IngestRun(workers=1), **chosen)
    ingest(recipe, f"{tmp_path}/set")
    found = [explain(f"{tmp_path}/set", row["key"]) for row in rows(tmp_path / "set", "index")]
    assert len(found) == next(iter(chosen.values()))
    for one in found:
        (text,) = one.captions
        assert text.text == f"text {one.steps[-1].row.removeprefix('row ')}"


def test_tars_of_one_name_in_two_folders(tmp_path: Path) -> None:
    """The captions are a published set, which knows them by their uids."""
    numbers = {"a": [0, 1, 2], "b": [100, 101, 102]}
    for name, found in numbers.items():
        (tmp_path / name).mkdir()
        write_shard(tmp_path / name / "0.tar", [jpeg(number) for number in found], first=found[0])
    captions = {
        "uid": [hashlib.md5(f"{number:012d}".encode()).hexdigest() for found in numbers.values() for number in found],
        "captions": [json.dumps([{"text": "x", "granularity": 0, "include_datacomp_raw_cap": False}])] * 6,
    }
    (tmp_path / "published").mkdir()
    pq.write_table(pa.table(captions), tmp_path / "published/0.parquet")
    join(f"{tmp_path}/{{a,b}}/0.tar", tmp_path / "published", tmp_path / "training")
    samples = rows(tmp_path / "training", "index")
    places = [(name, number) for name, found in numbers.items() for number in found]
    for row, (name, number) in zip(samples, places, strict=True):
        found = explain(f"{tmp_path}/training", row["key"])
        image = found.steps[-1].image
        assert image is not None
        assert (image.file, found.image) == (f"{tmp_path}/{name}/0.tar", jpeg(number))
        sha256 = hashlib.sha256((tmp_path / name / "0.tar").read_bytes()).hexdigest()
        assert dict(found.steps[-1].facts)["shard sha256"] == sha256
    for name in numbers:
        (tmp_path / f"moved/{name}").mkdir(parents=True)
        (tmp_path / f"{name}/0.tar").rename(tmp_path / f"moved/{name}/0.tar")
    moved = ExplainOptions(images=[f"{tmp_path}/moved/*/*.tar"])
    assert explain(f"{tmp_path}/training", samples[4]["key"], moved).image == jpeg(101)


def test_one_image_with_two_captions_in_tars_of_one_name(tmp_path: Path) -> None:
    """Nothing but its key tells a row from the other: neither has a uid or a URL."""
    write_samples(tmp_path / "a/0.tar", [(key, jpeg(0), "", {}) for key in ("k0", "k1")])
    write_samples(tmp_path / "b/0.tar", [("k0", jpeg(1), "", {})])
    annotation_set(f"{tmp_path}/a/0.tar", tmp_path / "annotations", lambda key: [line(f"line of {key}")])
    caption_set(tmp_path / "annotations", tmp_path / "captions")
    join(f"{tmp_path}/{{a,b}}/0.tar", tmp_path / "captions", tmp_path / "training")
    samples = rows(tmp_path / "training", "index")
    assert len(samples) == 2
    for number, row in enumerate(samples):
        found = explain(f"{tmp_path}/training", row["key"])
        assert {one.text for span in found.spans for one in span.detections} == {f"line of k{number}"}
        assert [step.row for step in found.steps[1:3]] == [f"data/0.parquet, row {number}"] * 2


def test_a_plan_of_texts_that_gives_another_sample(tmp_path: Path) -> None:
    """Texts have no hash of an image by which a wrong one is noticed."""
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(f'{{"text": "{"word " * number}end"}}\n' for number in range(12)))
    take_in("text", str(path), tmp_path / "texts")
    recipe = MixRecipe(sources={"text": [f"{tmp_path}/texts"]}, weights={"text": 1}, samples_per_shard=5, run=ALONE)
    mix(recipe, f"{tmp_path}/mixed")
    keys = [row["key"] for row in rows(tmp_path / "mixed", "index")]
    lines = path.read_text().splitlines()
    right = [explain(f"{tmp_path}/mixed", key) for key in keys]
    for one in right:
        (text,) = one.captions
        assert f'"{text.text}"' in lines[int(one.steps[-1].row.removeprefix("row "))]
    take_in("text", str(path), tmp_path / "others", samples_per_shard=5)
    moved = ExplainOptions(sets={"text": f"{tmp_path}/others"})
    with pytest.raises(
        UsageError, match=r"^the source text has changed since .*/mixed was made from it: pass --set text="
    ):
        explain(f"{tmp_path}/mixed", keys[0], moved)
    stored = tmp_path / "mixed/recipe.yaml"
    other = stored.read_text().replace("seed: 0\n", "seed: 1\n")
    assert other != stored.read_text()
    stored.write_text(other)
    faults = []
    for one in right:
        try:
            assert explain(f"{tmp_path}/mixed", one.key).steps == one.steps, "by chance"
        except UsageError as error:
            faults.append(str(error))
    assert len(faults) > len(right) // 2
    assert all("the plan of its recipe gives another sample at position " in fault for fault in faults)


def test_a_tar_that_has_changed_since_it_was_ingested(tmp_path: Path) -> None:
    images = write_images(tmp_path, 1, 3)
    take_in("datacomp", images, tmp_path / "plain")
    keys = [row["key"] for row in rows(tmp_path / "plain", "index")]
    found = explain(f"{tmp_path}/plain", keys[1])
    image = found.steps[-1].image
    assert image is not None
    assert (found.notes, image.member) == ([], "000000000001.jpg")
    tar = tmp_path / "images/0.tar"
    size = tar.stat().st_size
    write_shard(tar, [jpeg(0), jpeg(9), jpeg(2)])
    tar.write_bytes(tar.read_bytes().ljust(size, b"\0")[:size])
    assert tar.stat().st_size == size, "as many bytes"
    found = explain(f"{tmp_path}/plain", keys[1])
    assert found.notes == [f"{tar} has changed since it was ingested: its sample 1 has another image"]
    assert found.steps[-1].image is None
    assert explain(f"{tmp_path}/plain", keys[2]).notes == []
    write_shard(tar, [jpeg(0)])
    assert explain(f"{tmp_path}/plain", keys[1]).notes == [
        f"{tar} has changed since it was ingested: its row may be another one",
        f"{tar} has no sample 1 now: it has changed since it was ingested",
    ]


def test_a_file_that_has_changed_since_it_was_ingested(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "one"}\n{"text": "two"}\n')
    take_in("text", str(path), tmp_path / "texts")
    key = rows(tmp_path / "texts", "index")[1]["key"]
    assert explain(f"{tmp_path}/texts", key).notes == []
    path.write_text('{"text": "zero"}\n{"text": "one"}\n{"text": "two"}\n')
    found = explain(f"{tmp_path}/texts", key)
    assert found.notes == [f"{path} has changed since it was ingested: its row may be another one"]
    assert found.steps[-1].row == "row 1"


def test_a_conversation(tmp_path: Path) -> None:
    found = explain(str(make_conversations(tmp_path)), "c")
    assert [(one.name, one.is_trained_on) for one in found.captions] == [
        ("part 0 (system)", True),
        ("part 1 (user)", True),
        ("part 3 (user)", True),
        ("part 4 (assistant)", True),
    ]
    assert (found.spans, found.image) == ([], jpeg(1))
    assert found.steps[-1].row == "row 0"


def test_a_key_that_ingest_did_not_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "one"}\n')
    take_in("text", str(path), tmp_path / "texts")
    key = rows(tmp_path / "texts", "index")[0]["key"]
    monkeypatch.setattr("pipelines.explain.source_step.get_unit_name", lambda *_: "another")
    with pytest.raises(ShardloomError, match=rf"the key '{key}' does not name a row of its source: verify the set$"):
        explain(f"{tmp_path}/texts", key)
