"""Grounding captions from annotations: the base captions, what is left out, the joins, no harm done by any text."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from pipelines.cli.app import main
from pipelines.output.claim import claim
from pipelines.recipes.base import RunOptions
from pipelines.recipes.render import RenderRecipe
from pipelines.render.batch import render_batch
from pipelines.render.rendering import Rendering
from pipelines.render.run import preview_record, render_set
from pipelines.verify.run import verify
from schemas.errors import ShardloomError, UsageError
from schemas.layouts.blip3_grounding import blip3_grounding_schema, parse_captions, parse_metadata, parse_text
from schemas.records.box import Detection
from schemas.records.tag import Tag
from schemas.storage.folder import Folder
from schemas.strict_yaml import load_yaml
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.sets import ALONE, annotation_set, grounding_caption_set, grounding_set, join, rows

SHARDS, SAMPLES = 2, 20
KEYS = [f"{10_000 * shard + number:012d}" for shard in range(SHARDS) for number in range(SAMPLES)]


def boxes_of(key: str) -> list[Detection] | None:
    """Failed for every seventh key, none for every fifth, else one to three of scores 0.75, 0.5 and 0.25."""
    number = int(key)
    if number % 7 == 0:
        return None
    labels = ("picture", "dog", "cat")[: number % 3 + 1] if number % 5 else ()
    return [Detection(label, label, (0.25, 0.25, 0.75, 0.75), 0.75 - at / 4) for at, label in enumerate(labels)]


def tags_of(_: str) -> list[Tag]:
    return [Tag("picture", 1.0, "caption", 0, 7)]


FAILED = [key for key in KEYS if boxes_of(key) is None]
BARE = [key for key in KEYS if boxes_of(key) == []]
GOOD = [key for key in KEYS if boxes_of(key)]


@pytest.fixture(scope="module")
def images(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_shards(tmp_path_factory.mktemp("grounding") / "images", SHARDS, SAMPLES)


@pytest.fixture(scope="module")
def annotations(images: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grounding_set(images, tmp_path_factory.mktemp("grounding") / "annotations", boxes_of, tags_of)


@pytest.fixture(scope="module")
def captions(annotations: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grounding_caption_set(annotations, tmp_path_factory.mktemp("captions") / "out")


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as done:
        main(list(map(str, arguments)))
    return done.value.code, *capsys.readouterr()


def uid_of(annotations: Path, key: str) -> str:
    return next(row["uid"] for row in rows(annotations) if row["key"] == key)


def other_captions(path: Path, pairs: list[tuple[str | None, str | None]], column: str = "caption") -> str:
    """A data set of captions by uid, in row groups of three."""
    uids, texts = zip(*pairs, strict=True)
    table = pa.table({"url": ["x"] * len(pairs), column: texts, "uid": uids})
    pq.write_table(table, path, row_group_size=3)
    return str(path)


def test_datasets_and_polars_read_the_captions(captions: Path, tmp_path: Path) -> None:
    files = f"{captions}/data/*.parquet"
    loaded = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert loaded["key"] == GOOD
    assert pl.read_parquet(files).to_dicts() == loaded.to_list() == rows(captions)
    assert loaded.column_names == ["uid", "url", "key", "sha256", "cogvlm_caption", "captions", "metadata"]
    for row in loaded:
        key, found = row["key"], boxes_of(row["key"]) or []
        items = parse_captions(row["captions"])
        order = [(item.granularity, item.include_datacomp_raw_cap) for item in items]
        assert order == [(number, raw) for raw in (False, True) for number in range(3)]
        assert row["cogvlm_caption"] == f"picture {key}"
        for item in items:
            read = parse_text(item.text, item.granularity)
            assert len(read.mentions) == item.include_datacomp_raw_cap
            assert len(read.mentions) + len(read.tail) == len(found)
        listed = "".join(f", {each.label} (in the center)" for each in found[1:])
        sentence = listed and f". The image contains {listed[2:]}"
        assert items[3].text == f"picture (in the center) {key}{sentence}"
        assert [entry.category for entry in parse_metadata(row["metadata"])] == [each.label for each in found]
    metadata = pq.read_schema(captions / "data/00000000.parquet").metadata
    assert (metadata[b"wording"], metadata[b"base_caption"]) == (b"upto", b"alt_text")


def test_rows_without_boxes_are_quarantined_with_the_reason(captions: Path) -> None:
    left_out = {row["key"]: (row["stage"], row["reason"], row["detail"]) for row in rows(captions, "quarantine")}
    assert list(left_out) == sorted(FAILED + BARE)
    assert {left_out[key] for key in FAILED} == {("render", "engine_error", "boxes: ValueError: no luck")}
    assert {left_out[key] for key in BARE} == {
        ("render", "too_few_boxes", "fewer than 1 boxes of score 0 or more"),
    }
    assert verify(str(captions)) == (SHARDS, [])


@pytest.mark.parametrize(("floor", "least"), [(0.5, 1), (0.6, 2), (0.8, 1), (0.0, 3)])
def test_floors(annotations: Path, tmp_path: Path, floor: float, least: int) -> None:
    recipe = RenderRecipe(family="grounding", input=str(annotations), min_score=floor, min_boxes=least, run=ALONE)
    totals = render_set(recipe, str(tmp_path / "out"))
    kept = {key: [each.label for each in boxes_of(key) or [] if each.score >= floor] for key in KEYS}
    expected = [key for key in KEYS if len(kept[key]) >= least]
    found = rows(tmp_path / "out")
    assert [row["key"] for row in found] == expected
    assert [[e.category for e in parse_metadata(row["metadata"])] for row in found] == [kept[key] for key in expected]
    few = len(KEYS) - len(expected) - len(FAILED)
    assert totals.reasons == {"engine_error": len(FAILED), "too_few_boxes": few}
    assert totals.counts == {"captions": 6 * len(expected)}


def test_captions_of_another_data_set(annotations: Path, tmp_path: Path) -> None:
    """Joined on uid: of several captions the first that is one, files by name; without one a row is quarantined."""
    one, two, three, four = (uid_of(annotations, key) for key in GOOD[:4])
    other_captions(tmp_path / "b.parquet", [(one, "not this one"), (four, "A dog.")])
    other_captions(
        tmp_path / "a.parquet",
        [(None, "nobody's"), ("stranger", "x"), (two, None), (one, "My picture"), (two, ""), (one, "nor"), (two, "no")],
    )
    files = f"{tmp_path}/*.parquet"
    out = grounding_caption_set(annotations, tmp_path / "out", caption_from=files, granularities=[0])
    found = {row["uid"]: row for row in rows(out)}
    assert [row["cogvlm_caption"] for row in found.values()] == ["My picture", "", "A dog."]
    texts = [item.text for item in parse_captions(found[one]["captions"])]
    tail = "".join(f", {each.label} (in the center)" for each in (boxes_of(GOOD[0]) or [])[1:])
    grounded = f"My picture (in the center){tail and f'. The image contains {tail[2:]}'}"
    assert texts == [grounded, f"picture {GOOD[0]}. {grounded}"]
    left_out = [row for row in rows(out, "quarantine") if row["reason"] == "no_caption"]
    assert [row["key"] for row in left_out] == [key for key in GOOD if key not in (GOOD[0], GOOD[1], GOOD[3])]
    assert (left_out[0]["uid"], left_out[0]["detail"]) == (three, f"no caption of its uid in {files}")
    assert pq.read_schema(out / "data/00000000.parquet").metadata[b"base_caption"] == b"caption"
    assert verify(str(out)) == (SHARDS, [])
    recipe = RenderRecipe(family="grounding", input=str(annotations), caption_from=files, granularities=[0])
    assert [item.text for item in preview_record(recipe, one)] == texts
    with pytest.raises(ShardloomError, match=f"{GOOD[2]} gets no captions: no_caption: no caption of its uid in"):
        preview_record(recipe, three)


def test_the_column_of_the_captions(annotations: Path, tmp_path: Path) -> None:
    uid = uid_of(annotations, GOOD[0])
    for column in ("caption", "cogvlm_caption", "re_caption"):
        other_captions(tmp_path / f"{column}.parquet", [(uid, column)], column)
    for name, column in (("caption", None), ("cogvlm_caption", None), ("re_caption", "re_caption")):
        out = grounding_caption_set(
            annotations, tmp_path / name, caption_from=f"{tmp_path}/{name}.parquet", caption_column=column
        )
        assert [row["cogvlm_caption"] for row in rows(out)] == [name]


def test_wrong_use_is_one_line_and_2(
    annotations: Path, images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ocr = annotation_set(images, tmp_path / "ocr")
    kale = other_captions(tmp_path / "re.parquet", [("u", "x")], "re_caption")
    (tmp_path / "no.parquet").write_bytes(b"no Parquet")
    (tmp_path / "k.parquet.gz").write_bytes(gzip.compress(Path(kale).read_bytes()))
    pq.write_table(pa.table({"caption": ["x"]}), tmp_path / "bare.parquet")
    pq.write_table(pa.table({"uid": ["u"], "caption": ["x"]}), tmp_path / "name.parquet")
    damaged = (tmp_path / "name.parquet").read_bytes().replace(b"caption", b"capti\xffn")
    (tmp_path / "name.parquet").write_bytes(damaged)
    columns = "pass --caption-column, or files that have both"
    for arguments, message in (
        (["grounding", ocr], f"{ocr} was annotated without boxes: run annotate tags,boxes"),
        (["ocr", annotations], f"{annotations} was annotated without ocr: run annotate ocr"),
        (["grounding", annotations, "--granularity", 3], "recipe: granularities.0: input should be less than or equal"),
        (["grounding", annotations, "--min-lines", 3], "recipe: unknown key min_lines"),
        (["grounding", annotations, "--min-confidence", 1], "recipe: unknown key min_confidence"),
        (["ocr", annotations, "--min-score", 0.5], "recipe: unknown key min_score"),
        (["ocr", annotations, "--caption-from", kale], "recipe: unknown key caption_from"),
        (["grounding", annotations, "--min-score", 2], "recipe: min_score: input should be less than or equal to 1"),
        (["grounding", annotations, "--caption-column", "x"], "caption_column: there are no files to take it from"),
        (["grounding", annotations, "--caption-from", f"{tmp_path}/none*"], f"no file matches {tmp_path}/none*"),
        (
            ["grounding", annotations, "--caption-from", f"{tmp_path}/no.parquet"],
            f"{tmp_path}/no.parquet is not a Parquet",
        ),
        (
            ["grounding", annotations, "--caption-from", f"{tmp_path}/k.parquet.gz"],
            f"{tmp_path}/k.parquet.gz is compressed by gzip, which is not read: decompress it first\n",
        ),
        (
            ["grounding", annotations, "--caption-from", f"{tmp_path}/name.parquet"],
            f"{tmp_path}/name.parquet is not a Parquet file\n",
        ),
        (
            ["grounding", annotations, "--caption-from", kale],
            f"{kale} has no column uid, or no caption or cogvlm_caption: {columns}",
        ),
        (
            ["grounding", annotations, "--caption-from", f"{tmp_path}/[br]*.parquet", "--caption-column", "re_caption"],
            f"{tmp_path}/bare.parquet has no column uid, or no re_caption: {columns}",
        ),
    ):
        code, out, err = run("render", *arguments, "-o", tmp_path / "out", capsys=capsys)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {message}")
        assert err.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_captions_that_have_changed_are_refused(annotations: Path, tmp_path: Path) -> None:
    uid = uid_of(annotations, GOOD[0])
    files = other_captions(tmp_path / "kale.parquet", [(uid, "A picture")])
    out = grounding_caption_set(annotations, tmp_path / "out", caption_from=files)
    before = hashes(out)
    assert hashes(grounding_caption_set(annotations, out, caption_from=files)) == before
    other_captions(tmp_path / "kale.parquet", [(uid, "Another picture of something else")])
    with pytest.raises(UsageError, match=r"annotations or the base captions have changed since .*00000000"):
        grounding_caption_set(annotations, out, caption_from=files)


def test_one_family_is_not_the_other(annotations: Path, captions: Path) -> None:
    with pytest.raises(UsageError, match="family is 'grounding' there and 'ocr' here"):
        claim(Folder(str(captions)), RenderRecipe(input=str(annotations)))


def test_preview_is_what_the_bulk_writes(annotations: Path, captions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = RenderRecipe(family="grounding", input=str(annotations))
    for row in rows(captions)[::7]:
        for key in (row["key"], row["uid"], f"{KEYS.index(row['key']) // SAMPLES:08d}/{row['key']}"):
            assert preview_record(recipe, key) == parse_captions(row["captions"])
    assert [item.text for item in preview_record(recipe, BARE[0])] == [""] * 3 + [f"picture {BARE[0]}"] * 3
    code, out, err = run("render", "grounding", annotations, "--preview", FAILED[0], capsys=capsys)
    assert (code, out) == (1, "")
    assert err == f"error: {annotations}: {FAILED[0]} gets no captions: engine_error: boxes: ValueError: no luck\n"
    code, out, _ = run("render", "grounding", annotations, "--preview", GOOD[0], "--json", capsys=capsys)
    assert (code, len(json.loads(out))) == (0, 6)


def test_rendering_again_gives_the_same_bytes(annotations: Path, captions: Path, tmp_path: Path) -> None:
    assert hashes(grounding_caption_set(annotations, tmp_path / "again")) == hashes(captions)


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_two_workers_give_the_same_bytes(annotations: Path, tmp_path: Path) -> None:
    files = other_captions(tmp_path / "kale.parquet", [(uid_of(annotations, key), f"A {key}") for key in GOOD])
    for workers in (1, 2):
        recipe = RenderRecipe(
            family="grounding", input=str(annotations), caption_from=files, run=RunOptions(workers=workers)
        )
        render_set(recipe, str(tmp_path / f"out{workers}"))
    assert hashes(tmp_path / "out1") == hashes(tmp_path / "out2")


def test_sets_without_tags_or_failures_will_do(annotations: Path, captions: Path) -> None:
    """A column that is not there is one that tells of nothing."""
    table = pq.read_table(annotations / "data/00000000.parquet").drop_columns(["tags", "failures"])
    schema = blip3_grounding_schema("r", "alt_text")
    rendering = Rendering.resolve(RenderRecipe(family="grounding", input=str(annotations)))
    batch = render_batch(table, rendering, schema, None)
    assert (
        batch.captions["captions"].to_pylist() == [row["captions"] for row in rows(captions)][: batch.captions.num_rows]
    )
    details = {fault.detail for fault in batch.faults if fault is not None}
    assert details == {"fewer than 1 boxes of score 0 or more", "boxes: the engine failed on this image"}


HOSTILE = (
    "</object><bbox>[0.0, 0.0][1.0, 1.0]</bbox> (in the center)\n'\"\\ \x1b[2J\u202e[red]x[/red] The image contains dog"
)


def test_hostile_text_survives_and_steers_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(tmp_path / "00000000.tar", [jpeg(1)])
    made = grounding_set(
        f"{tmp_path}/*.tar",
        tmp_path / "annotations",
        lambda _: [Detection(label, label, (0.0, 0.0, 1.0, 1.0), 0.5) for label in ("dog", HOSTILE)],
        lambda _: [],
    )
    files = other_captions(tmp_path / "kale.parquet", [(uid_of(made, "000000000000"), HOSTILE)])
    out = grounding_caption_set(made, tmp_path / "out", caption_from=files)
    (row,) = rows(out)
    assert row["cogvlm_caption"] == HOSTILE
    assert [entry.category for entry in parse_metadata(row["metadata"])] == ["dog", HOSTILE]
    for item in parse_captions(row["captions"]):
        read = parse_text(item.text, item.granularity)
        raw = "picture 000000000000. " if item.include_datacomp_raw_cap else ""
        assert read.caption.removesuffix(".") == raw + HOSTILE
        assert len(read.mentions + read.tail) == 2
    code, out_, _ = run(
        "render", "grounding", made, "--caption-from", files, "--preview", "000000000000", capsys=capsys
    )
    assert code == 0
    assert all(line.isprintable() for line in out_.splitlines())


def released(folder: Path, found: list[dict[str, Any]], identity: str, form: Callable[[Any], str]) -> Path:
    """A folder as published: plain Parquet, other names, tuples or lists, no manifests and perhaps no uid."""
    folder.mkdir()
    items = [
        [(c.text, c.granularity, c.include_datacomp_raw_cap) for c in parse_captions(r["captions"])] for r in found
    ]
    table = pa.table(
        {
            identity: [row[identity] for row in found],
            "cogvlm_caption": [row["cogvlm_caption"] for row in found],
            "captions": [form(each) for each in items],
        }
    )
    pq.write_table(table, folder / "combined_part_01.parquet")
    return folder


def test_shard_joins_our_own(captions: Path, images: str, tmp_path: Path) -> None:
    totals = join(images, captions, tmp_path / "out", granularity=2, raw_caption=True, format="parquet")
    assert (totals.rows_out, totals.reasons) == (len(GOOD), {"no_caption": len(FAILED) + len(BARE)})
    assert {row["source"] for row in rows(tmp_path / "out", "index")} == {"blip3-grounding"}
    for sample, row in zip(rows(tmp_path / "out"), rows(captions), strict=True):
        items = parse_captions(row["captions"])
        assert sample["text"] == items[5].text
        assert json.loads(sample["captions"]) == [
            {"text": i.text, "granularity": i.granularity, "include_datacomp_raw_cap": i.include_datacomp_raw_cap}
            for i in items
        ]
        assert sample["metadata"] == row["metadata"]
    assert verify(str(tmp_path / "out"))[1] == []


def test_training_shards_have_the_places_in_the_caption(
    annotations: Path, captions: Path, images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over the alt texts that is the caption with the alt text, over others' captions it is the one without."""
    join(images, captions, tmp_path / "out", format="parquet")
    assert load_yaml((tmp_path / "out/recipe.yaml").read_bytes())["raw_caption"] is True
    texts = {row["source_key"]: row["text"] for row in rows(tmp_path / "out")}
    assert texts[GOOD[0]].startswith(f"picture (in the center) {GOOD[0]}")
    assert [parse_text(text, 0).caption.removesuffix(".") for text in texts.values()] == [f"picture {k}" for k in GOOD]
    # the bare list is what is asked for by name
    bare = ["shard", "--images", images, "--captions", captions, "--no-raw-caption", "--format", "parquet"]
    code, _, _ = run(*bare, "-o", tmp_path / "bare", "--json", capsys=capsys)
    assert code == 0
    listed = {row["source_key"]: row["text"] for row in rows(tmp_path / "bare")}
    things = ", ".join(f"{each.label} (in the center)" for each in boxes_of(GOOD[0]) or [])
    assert listed[GOOD[0]] == f"The image contains {things}"
    # a copy of the files alone says what its places were put into, too
    (tmp_path / "copy").mkdir()
    for file in sorted((captions / "data").iterdir()):
        (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    join(images, tmp_path / "copy", tmp_path / "copied", format="parquet")
    assert {row["source_key"]: row["text"] for row in rows(tmp_path / "copied")} == texts
    # captions of others have the places without any alt text
    files = other_captions(tmp_path / "kale.parquet", [(uid_of(annotations, key), f"A picture, {key}") for key in GOOD])
    over = grounding_caption_set(annotations, tmp_path / "over", caption_from=files)
    join(images, over, tmp_path / "third", format="parquet")
    assert load_yaml((tmp_path / "third/recipe.yaml").read_bytes())["raw_caption"] is False
    assert rows(tmp_path / "third")[0]["text"].startswith(f"A picture (in the center), {GOOD[0]}")


def test_a_set_of_bare_lists_is_refused_unless_asked_for(annotations: Path, images: str, tmp_path: Path) -> None:
    lists = grounding_caption_set(annotations, tmp_path / "lists", raw_caption="without")
    with pytest.raises(UsageError, match=r"no captions with the alt text: .* bare lists with --no-raw-caption"):
        join(images, lists, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert join(images, lists, tmp_path / "out", raw_caption=False).counts["empty_texts"] == 0


@pytest.mark.parametrize("identity", ["uid", "url"])
@pytest.mark.parametrize("form", [repr, lambda items: repr([list(item) for item in items])], ids=["tuples", "lists"])
def test_shard_joins_a_released_set(
    captions: Path, images: str, tmp_path: Path, identity: str, form: Callable[[Any], str]
) -> None:
    theirs = released(tmp_path / "blip3", rows(captions), identity, form)
    totals = join(images, theirs, tmp_path / "out", format="parquet")
    assert (totals.rows_out, totals.reasons) == (len(GOOD), {"no_caption": len(FAILED) + len(BARE)})
    assert {row["source"] for row in rows(tmp_path / "out", "index")} == {"blip3-grounding"}
    # nothing says that the places were put into alt texts; all captions without those are bare lists
    items = [parse_captions(row["captions"]) for row in rows(captions)]
    assert [sample["text"] for sample in rows(tmp_path / "out")] == [each[3].text for each in items]
    assert load_yaml((tmp_path / "out/recipe.yaml").read_bytes())["raw_caption"] is None
    join(images, theirs, tmp_path / "lists", format="parquet", raw_caption=False)
    assert [sample["text"] for sample in rows(tmp_path / "lists")] == [each[0].text for each in items]


def test_what_a_grounding_set_does_not_have_is_refused(captions: Path, images: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="granularity: grounding captions have 0 to 2, not 5"):
        join(images, captions, tmp_path / "out", granularity=5)
    assert not (tmp_path / "out").exists()
    bad = released(tmp_path / "blip3", rows(captions), "uid", lambda items: re.sub("True", "true", repr(items)))
    totals = join(images, bad, tmp_path / "out")
    assert totals.reasons == {"no_caption": len(KEYS)}
    details = {row["detail"][:73] for row in rows(tmp_path / "out", "quarantine")}
    assert "its captions can't be read: captions is not a Python list of [caption, gr" in details
