"""Images get the captions of their own samples: with one URL for several, without any id, renamed, packed anew."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.inputs.shards import InputShard
from pipelines.output.totals import Totals
from pipelines.shard.caption_set import CaptionSet
from pipelines.shard.census import take_census
from schemas.errors import ShardloomError, UsageError
from tests.conftest import jpeg
from tests.pipelines.support.sets import (
    annotation_set,
    caption_set,
    join,
    line,
    rows,
    write_samples,
)

Sample = tuple[str, bytes, str, dict[str, Any]]
URL = {"url": "https://example.org/coco.jpg"}
KEYS = [f"{number:05d}" for number in range(4)]
IMAGES = [jpeg(number) for number in range(4)]
PLAIN: list[Sample] = [(key, image, f"alt {key}", {}) for key, image in zip(KEYS, IMAGES, strict=True)]
OTHERS: list[Sample] = [(key, jpeg(10 + number), f"other {key}", {}) for number, key in enumerate(KEYS)]


def captions_of(images: str, folder: Path) -> Path:
    """A caption set in which every image says its key."""
    made = annotation_set(images, folder / "annotations", lambda key: [line(f"text {key}")])
    return caption_set(made, folder / "captions")


def sharded(images: str, captions: Path, output: Path) -> tuple[Totals, list[dict[str, Any]]]:
    """The totals, and the samples in Parquet. Their text begins with the alt text, so that nobody's is another's."""
    totals = join(images, captions, output, raw_caption=True, format="parquet")
    return totals, rows(output)


def expected(alt_text: str, key: str) -> str:
    return f'{alt_text}. The image contains the text "text {key}"'


def test_two_samples_of_one_address_keep_their_captions(tmp_path: Path) -> None:
    """As img2dataset packs COCO: the same picture, address and no uid, another caption each time."""
    samples: list[Sample] = [(key, IMAGES[0], f"alt {key}", URL) for key in KEYS]
    images = write_samples(tmp_path / "images/00000.tar", samples)
    totals, found = sharded(images, captions_of(images, tmp_path), tmp_path / "out")
    assert [row["text"] for row in found] == [expected(f"alt {key}", key) for key in KEYS]
    assert (totals.rows_in, totals.rows_out, totals.reasons) == (4, 4, {})
    assert "joined_by_image" not in totals.counts


def test_samples_without_any_id_find_their_captions(tmp_path: Path) -> None:
    images = write_samples(tmp_path / "images/home.tar", PLAIN)
    totals, found = sharded(images, captions_of(images, tmp_path), tmp_path / "out")
    assert [row["text"] for row in found] == [expected(f"alt {key}", key) for key in KEYS]
    assert (totals.rows_out, totals.reasons) == (4, {})


def test_inputs_of_one_name_and_renamed_ones(tmp_path: Path) -> None:
    """Two shards with the same keys and without ids, each under the other's name, then both under one name."""
    for name, samples in (("0", PLAIN), ("1", OTHERS)):
        write_samples(tmp_path / f"images/{name}.tar", samples)
    captions = captions_of(f"{tmp_path}/images/*.tar", tmp_path)
    for source, copy in (("0", "swapped/1"), ("1", "swapped/0"), ("0", "one/a/0"), ("1", "one/b/0")):
        (tmp_path / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / f"images/{source}.tar", tmp_path / f"{copy}.tar")
    of_plain = [expected(f"alt {key}", key) for key in KEYS]
    of_others = [expected(f"other {key}", key) for key in KEYS]
    for images, texts, names in (
        (f"{tmp_path}/images/*.tar", of_plain + of_others, ["0"] * 4 + ["1"] * 4),
        (f"{tmp_path}/swapped/*.tar", of_others + of_plain, ["0"] * 4 + ["1"] * 4),
        (f"{tmp_path}/one/*/0.tar", of_plain + of_others, ["a/0"] * 4 + ["b/0"] * 4),
    ):
        totals, found = sharded(images, captions, tmp_path / f"out{len(images)}")
        assert [row["text"] for row in found] == texts
        assert [row["source_shard"] for row in found] == names
        assert (totals.rows_out, totals.reasons) == (8, {})
        assert "joined_by_image" not in totals.counts


def test_an_input_of_a_shard_s_name_gets_none_of_its_captions(tmp_path: Path) -> None:
    named: list[Sample] = [(key, image, alt, {"uid": f"a{key}"}) for key, image, alt, _ in PLAIN[:2]]
    images = write_samples(tmp_path / "a/0.tar", named + PLAIN[2:])
    other: list[Sample] = [(key, image, alt, {"uid": f"b{key}"}) for key, image, alt, _ in OTHERS[:2]]
    write_samples(tmp_path / "b/0.tar", other + OTHERS[2:])
    captions = captions_of(images, tmp_path)
    totals, found = sharded(f"{tmp_path}/[ab]/0.tar", captions, tmp_path / "out")
    assert [row["text"] for row in found] == [expected(f"alt {key}", key) for key in KEYS]
    assert totals.reasons == {"no_caption": 2, "misaligned": 2}  # who has a uid is another; who has none may be changed


@pytest.mark.parametrize("how", ["fifo", "link", "linked folder", "changed"])
def test_a_search_reads_the_files_of_the_caption_set_alone(tmp_path: Path, how: str) -> None:
    """Of a shard of another size all files of the set are searched."""
    captions = captions_of(write_samples(tmp_path / "made/0.tar", PLAIN), tmp_path)
    images = write_samples(tmp_path / "images/1.tar", OTHERS + PLAIN)
    data, outside = captions / "data/0.parquet", tmp_path / "outside"
    moved = data.parent if how == "linked folder" else data
    moved.rename(outside)
    if how == "fifo":
        os.mkfifo(data)
    elif how == "changed":
        pq.write_table(pq.read_table(outside), data, compression="none")
    else:
        moved.symlink_to(outside)
    said = "is not as it was committed" if how == "changed" else "only regular files inside the folder are read"
    with pytest.raises(ShardloomError, match=f"{data}.*{said}"):
        sharded(images, captions, tmp_path / "out")


def test_a_published_file_that_never_ends_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0.parquet")
    with pytest.raises(UsageError, match=r"/0\.parquet is not a regular file"):
        CaptionSet(str(tmp_path))


def test_one_file_is_not_read_twice(tmp_path: Path) -> None:
    images = write_samples(tmp_path / "images/0.tar", PLAIN)
    captions = captions_of(images, tmp_path)
    (tmp_path / "links").mkdir()
    (tmp_path / "links/0.tar").symlink_to(images)
    with pytest.raises(UsageError, match=r"images/0\.tar and .*links/0\.tar are the same file: name it once"):
        sharded(f"{tmp_path}/{{images,links}}/0.tar", captions, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_shard_packed_anew_is_found_by_its_images(tmp_path: Path) -> None:
    images = write_samples(tmp_path / "images/0.tar", PLAIN)
    captions = captions_of(images, tmp_path)
    anew: list[Sample] = [(f"new{key}", image, alt, {}) for key, image, alt, _ in reversed(PLAIN)]
    totals, found = sharded(write_samples(tmp_path / "new/x.tar", anew + OTHERS), captions, tmp_path / "out")
    assert [row["text"] for row in found] == [expected(f"alt {key}", key) for key in reversed(KEYS)]
    assert [row["sha256"] for row in found] == [hashlib.sha256(image).hexdigest() for image in reversed(IMAGES)]
    assert totals.counts["joined_by_image"] == 4
    assert totals.reasons == {"no_caption": 4}
    # of its own name, with keys that mean others now
    moved: list[Sample] = [(key, image, alt, {}) for key, (_, image, alt, _) in zip(KEYS, reversed(PLAIN), strict=True)]
    totals, found = sharded(write_samples(tmp_path / "moved/0.tar", moved), captions, tmp_path / "moved/out")
    assert [row["text"] for row in found] == [expected(f"alt {key}", key) for key in reversed(KEYS)]
    assert totals.counts["joined_by_image"] == 4
    # with the same keys, and one more sample
    more = write_samples(tmp_path / "more/0.tar", [*PLAIN, ("new", jpeg(99), "new", {})])
    totals, found = sharded(more, captions, tmp_path / "more/out")
    assert [row["text"] for row in found] == [expected(f"alt {key}", key) for key in KEYS]
    assert (totals.counts["joined_by_image"], totals.reasons) == (0, {"no_caption": 1})


def test_one_image_of_several_samples_packed_anew(tmp_path: Path) -> None:
    """Their ids tell them apart; without any, none gets another's caption, and each is counted."""
    samples: list[Sample] = [(key, IMAGES[0], f"alt {key}", {"uid": f"u{key}"}) for key in KEYS]
    images = write_samples(tmp_path / "images/0.tar", samples)
    captions = captions_of(images, tmp_path)
    anew: list[Sample] = [(f"new{key}", image, alt, ids) for key, image, alt, ids in reversed(samples)]
    totals, found = sharded(write_samples(tmp_path / "new/x.tar", anew), captions, tmp_path / "out")
    assert [row["text"] for row in found] == [expected(f"alt {key}", key) for key in reversed(KEYS)]
    assert totals.counts["joined_by_image"] == 4
    nameless: list[Sample] = [(f"new{key}", image, alt, {}) for key, image, alt, _ in samples]
    totals, found = sharded(write_samples(tmp_path / "bare/x.tar", nameless), captions, tmp_path / "bare/out")
    assert (found, totals.reasons) == ([], {"ambiguous_caption": 4})
    details = {row["detail"] for row in rows(tmp_path / "bare/out", "quarantine")}
    assert details == {"4 rows of its image say different things"}


def published(folder: Path, columns: dict[str, list[Any]]) -> Path:
    """A set of somebody else's."""
    folder.mkdir()
    said = [
        json.dumps([{"text": each, "granularity": 0, "include_datacomp_raw_cap": True}]) for each in columns["says"]
    ]
    pq.write_table(pa.table(columns | {"captions": said}), folder / "0.parquet")
    return folder


def test_several_rows_of_another_s_set(tmp_path: Path) -> None:
    a, b, c = (hashlib.sha256(image).hexdigest() for image in IMAGES[:3])
    images = write_samples(
        tmp_path / "images/0.tar",
        [
            ("0", IMAGES[0], "", {"uid": "u", "url": "U"}),
            ("1", IMAGES[1], "", {"url": "U"}),
            ("2", IMAGES[2], "", {"url": "V"}),
            ("3", IMAGES[3], "", {}),
        ],
    )
    theirs = published(
        tmp_path / "theirs",
        {
            "uid": ["u", "u", None, None, None, None],
            "url": [None, None, "U", "U", "V", "V"],
            "says": ["first", "second", "third", "fourth", "fifth", "fifth"],
        },
    )
    totals, found = sharded(images, theirs, tmp_path / "out")
    assert [(row["source_key"], row["text"]) for row in found] == [("0", "first"), ("2", "fifth")]
    assert totals.counts["ambiguous_captions"] == 1
    assert totals.reasons == {"ambiguous_caption": 1, "no_caption": 1}
    (left_out,) = (row for row in rows(tmp_path / "out", "quarantine") if row["reason"] == "ambiguous_caption")
    assert (left_out["key"], left_out["detail"]) == ("1", "2 rows of its URL say different things")
    # hashes tell the rows of one address apart, and find what has nothing else
    theirs = published(
        tmp_path / "hashed", {"url": ["U", "U", None], "sha256": [a, b, c], "says": ["first", "second", "third"]}
    )
    totals, found = sharded(images, theirs, tmp_path / "again")
    assert [(row["source_key"], row["text"]) for row in found] == [("0", "first"), ("1", "second"), ("2", "third")]
    assert (totals.counts["joined_by_image"], totals.reasons) == (1, {"no_caption": 1})


def test_ids_that_are_numbers_find_their_rows(tmp_path: Path) -> None:
    images = write_samples(tmp_path / "images/0.tar", [("0", IMAGES[0], "", {"uid": "17"}), ("1", IMAGES[1], "", {})])
    for name, ids in (("whole", [17, 18]), ("floats", [17.0, None])):
        theirs = published(tmp_path / name, {"uid": ids, "says": ["first", "second"]})
        totals, found = sharded(images, theirs, tmp_path / f"out-{name}")
        assert ([row["text"] for row in found], totals.reasons) == (["first"], {"no_caption": 1})


def test_a_renamed_shard_s_captions_are_read_from_one_file(tmp_path: Path) -> None:
    for name, samples in (("0", PLAIN), ("1", OTHERS)):
        write_samples(tmp_path / f"images/{name}.tar", samples)
    captions = CaptionSet(str(captions_of(f"{tmp_path}/images/*.tar", tmp_path)))
    renamed = shutil.copy(tmp_path / "images/1.tar", tmp_path / "renamed.tar")
    census = take_census(captions, InputShard("renamed", str(renamed)))
    assert (census.file, census.good.tolist()) == ("data/1.parquet", [True] * 4)


def test_captions_of_others_are_text_or_named(tmp_path: Path) -> None:
    """A byte order mark goes, bytes are UTF-8 or none, and odd metadata costs no row."""
    samples: list[Sample] = [(key, image, "", {"uid": key}) for key, image in zip(KEYS, IMAGES, strict=True)]
    images = write_samples(tmp_path / "images/0.tar", samples)
    said = [json.dumps([{"text": text, "granularity": 0, "include_datacomp_raw_cap": False}]) for text in "ab"]
    marked = said[1].replace('"b"', '"\\ufeffb"')
    captions = [said[0].encode(), marked.encode(), '["caf\xe9"]'.encode("latin-1"), None]
    (tmp_path / "theirs").mkdir()
    table = pa.table({"uid": KEYS, "captions": captions, "metadata": [b"\xff", b"{}", None, b""]})
    pq.write_table(table, tmp_path / "theirs/0.parquet")
    totals = join(images, tmp_path / "theirs", tmp_path / "out", format="parquet")
    assert [(row["text"], row["metadata"]) for row in rows(tmp_path / "out")] == [("a", "{}"), ("b", "{}")]
    assert [row["captions"] for row in rows(tmp_path / "out")] == said
    assert totals.reasons == {"not_text": 1, "no_caption": 1}


@pytest.mark.parametrize("column", [pa.string(), pa.binary()])
def test_strings_of_others_that_are_no_text_stop_no_run(tmp_path: Path, column: pa.DataType) -> None:
    samples: list[Sample] = [(key, image, "", {"uid": key}) for key, image in zip(KEYS, IMAGES, strict=True)]
    images = write_samples(tmp_path / "images/0.tar", samples)
    said = [json.dumps([{"text": text, "granularity": 0, "include_datacomp_raw_cap": False}]) for text in "abc"]
    columns = {
        "captions": [*(each.encode() for each in said), b"caf\xe9"],
        "metadata": [b"{}", b"caf\xe9", b"{}", b"{}"],
        "uid": [KEYS[0].encode(), KEYS[1].encode(), b"\xff", KEYS[3].encode()],
    }
    (tmp_path / "theirs").mkdir()
    table = pa.table({name: pa.array(values[::-1]).view(column) for name, values in columns.items()})
    pq.write_table(table, tmp_path / "theirs/0.parquet")
    totals = join(images, tmp_path / "theirs", tmp_path / "out", format="parquet")
    found = [(row["uid"], row["text"], row["metadata"]) for row in rows(tmp_path / "out")]
    assert found == [(KEYS[0], "a", "{}"), (KEYS[1], "b", "{}")]
    assert totals.reasons == {"no_caption": 1, "not_text": 1}


def test_ids_that_became_decimals_are_found(tmp_path: Path) -> None:
    images = write_samples(tmp_path / "images/0.tar", [("0", IMAGES[0], "", {"uid": 7})])
    (tmp_path / "theirs").mkdir()
    said = json.dumps([{"text": "a", "granularity": 0, "include_datacomp_raw_cap": False}])
    uids = pa.array([7], pa.decimal128(10, 2))
    pq.write_table(pa.table({"uid": uids, "captions": [said]}), tmp_path / "theirs/0.parquet")
    join(images, tmp_path / "theirs", tmp_path / "out", format="parquet")
    assert [(row["uid"], row["text"]) for row in rows(tmp_path / "out")] == [("7", "a")]


@pytest.mark.parametrize(
    "stored",
    ["", "granularities: 3\nraw_caption: both\n", "granularities: [0]\n", "granularities: [[0]]\nraw_caption: both\n"],
)
def test_a_cut_recipe_of_a_caption_set_is_named(tmp_path: Path, stored: str) -> None:
    images = write_samples(tmp_path / "images/0.tar", PLAIN)
    captions = captions_of(images, tmp_path)
    (captions / "recipe.yaml").write_text(f"kind: render\n{stored}")
    with pytest.raises(UsageError, match=r"/recipe\.yaml is damaged: it lacks `granularities` or `raw_caption`"):
        sharded(images, captions, tmp_path / "out")
