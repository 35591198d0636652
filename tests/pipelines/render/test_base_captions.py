"""Captions that places are put into are those of the sample itself, whatever ids it has; ambiguous ones are counted."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.output.totals import Totals
from pipelines.recipes.render import RenderRecipe
from pipelines.render.run import preview_record, render_set
from schemas.errors import ShardloomError, UsageError
from schemas.layouts.blip3_grounding import parse_captions
from schemas.records.box import Detection
from tests.conftest import jpeg
from tests.pipelines.support.sets import ALONE, annotation_set, grounding_set, line, rows, write_samples

THING = [Detection("dog", "dog", (0.25, 0.25, 0.75, 0.75), 0.75)]
URL = {"url": "https://example.org/coco.jpg"}


def boxes(images: str, output: Path) -> Path:
    return grounding_set(images, output, lambda _: THING, lambda _: [])


def rendered(annotations: Path, files: str, output: Path) -> tuple[Totals, dict[str, str]]:
    """The totals, and the caption of every key: the finest, without the alt text."""
    recipe = RenderRecipe(family="grounding", input=str(annotations), caption_from=files, granularities=[0], run=ALONE)
    totals = render_set(recipe, str(output))
    return totals, {row["key"]: parse_captions(row["captions"])[0].text for row in rows(output)}


def theirs(path: Path, columns: dict[str, Any]) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_captions_of_a_set_of_ours_are_those_of_the_same_sample(tmp_path: Path) -> None:
    """One picture and address twice, another caption each time, no uid: the alt texts of another annotation set."""
    images = write_samples(tmp_path / "images/0.tar", [(f"{n}", jpeg(0), f"A dog, {n}", URL) for n in range(2)])
    annotations = boxes(images, tmp_path / "boxes")
    other = annotation_set(images, tmp_path / "lines", lambda key: [line(key)])
    totals, found = rendered(annotations, f"{other}/data/*.parquet", tmp_path / "out")
    assert found == {"0": "A dog (in the center), 0", "1": "A dog (in the center), 1"}
    assert (totals.reasons, totals.counts) == ({}, {"captions": 4})
    # packed anew, under other keys
    anew = write_samples(tmp_path / "new/9.tar", [("x", jpeg(1), "A dog, x", {}), ("y", jpeg(0), "A dog, y", {})])
    packed = annotation_set(anew, tmp_path / "packed", lambda key: [line(key)])
    totals, found = rendered(annotations, f"{packed}/data/*.parquet", tmp_path / "again")
    assert found == {"0": "A dog (in the center), y", "1": "A dog (in the center), y"}
    assert totals.counts == {"captions": 4, "joined_by_image": 2}
    # another picture under the same key and address
    changed = write_samples(tmp_path / "changed/0.tar", [("0", jpeg(2), "A cat", URL)])
    cat = annotation_set(changed, tmp_path / "cat", lambda key: [line(key)])
    totals, found = rendered(annotations, f"{cat}/data/*.parquet", tmp_path / "third")
    assert (found, totals.reasons) == ({}, {"misaligned": 2})


def test_captions_of_others_are_found_by_what_they_have(tmp_path: Path) -> None:
    samples: list[tuple[str, bytes, str, dict[str, Any]]] = [
        ("0", jpeg(0), "", {"uid": "u", "url": "U"}),
        ("1", jpeg(1), "", {"url": "U"}),
        ("2", jpeg(2), "", {"url": "V"}),
        ("3", jpeg(3), "", {}),
    ]
    annotations = boxes(write_samples(tmp_path / "images/0.tar", samples), tmp_path / "boxes")
    files = theirs(
        tmp_path / "a.parquet",
        {
            "uid": ["u", "u", None, None, None],
            "url": ["W", "W", "U", "U", "V"],
            "caption": ["A dog, 1", "A dog, 2", "A dog, 3", "A dog, 4", "A dog, 5"],
        },
    )
    totals, found = rendered(annotations, files, tmp_path / "out")
    assert found == {"0": "A dog (in the center), 1", "2": "A dog (in the center), 5"}
    assert totals.counts == {"captions": 4, "ambiguous_captions": 1}
    assert totals.reasons == {"ambiguous_caption": 1, "no_caption": 1}
    assert [(row["key"], row["reason"], row["detail"]) for row in rows(tmp_path / "out", "quarantine")] == [
        ("1", "ambiguous_caption", "2 rows of its URL say different things"),
        ("3", "no_caption", f"no caption of its image in {files}"),
    ]
    recipe = RenderRecipe(family="grounding", input=str(annotations), caption_from=files)
    assert preview_record(recipe, "2")[0].text == "A dog (in the center), 5"
    with pytest.raises(ShardloomError, match="1 gets no captions: ambiguous_caption: 2 rows of its URL"):
        preview_record(recipe, "1")


def test_files_need_something_to_be_found_by(tmp_path: Path) -> None:
    images = write_samples(tmp_path / "images/0.tar", [("0", jpeg(0), "", {"url": "U"})])
    annotations = boxes(images, tmp_path / "boxes")
    by_url = theirs(tmp_path / "url.parquet", {"url": ["U"], "caption": ["A dog"]})
    assert rendered(annotations, by_url, tmp_path / "out")[1] == {"0": "A dog (in the center)"}
    by_key = theirs(tmp_path / "key.parquet", {"key": ["0"], "caption": ["A dog"]})
    with pytest.raises(UsageError, match=r"key\.parquet has no column uid, or no caption or cogvlm_caption: .*url"):
        rendered(annotations, by_key, tmp_path / "no")
    assert not (tmp_path / "no").exists()


def not_utf8(values: list[bytes]) -> pa.Array:
    """Strings that no writer should write; the column's statistics hold them too."""
    stored = pa.array(values)
    return pa.Array.from_buffers(pa.string(), len(values), [None, *stored.buffers()[1:]])


@pytest.mark.parametrize(
    ("captions", "said", "reasons"),
    [
        (
            ["\ufeffA dog", None, ""],
            ["A dog (in the center)", "The image contains dog (in the center)"],
            {"no_caption": 1},
        ),
        ([b"A dog", b"caf\xe9", None], ["A dog (in the center)"], {"not_text": 1, "no_caption": 1}),
        (
            pa.array([b"A dog", b"caf\xe9", None]).view(pa.string()),
            ["A dog (in the center)"],
            {"not_text": 1, "no_caption": 1},
        ),
        ([1.5, float("nan"), None], ["1.5. The image contains dog (in the center)"], {"no_caption": 2}),
        ([True, False, None], [], {"not_text": 2, "no_caption": 1}),
        ([["A dog"], [], None], [], {"not_text": 2, "no_caption": 1}),
        ([{"a": "A dog"}, {"a": "b"}, None], [], {"not_text": 2, "no_caption": 1}),
        (pa.array([["A dog"], [], None], pa.list_view(pa.string())), [], {"not_text": 2, "no_caption": 1}),
        (
            pa.array([0, 1, None], pa.timestamp("us", "Asia/Nowhere")),
            [
                "1970-01-01 00:00:00.000000. The image contains dog (in the center)",
                "1970-01-01 00:00:00.000001. The image contains dog (in the center)",
            ],
            {"no_caption": 1},
        ),
        (not_utf8([b"A dog", b"caf\xe9", b"\xff"]), ["A dog (in the center)"], {"not_text": 2}),
        (pa.array(["A dog", "A dog", None]).dictionary_encode(), ["A dog (in the center)"] * 2, {"no_caption": 1}),
        (
            pa.array(["A dog", "", None], pa.string_view()),
            ["A dog (in the center)", "The image contains dog (in the center)"],
            {"no_caption": 1},
        ),
    ],
)
def test_captions_of_others_stay_what_they_are_or_are_none(
    tmp_path: Path, captions: Any, said: list[str], reasons: dict[str, int]
) -> None:
    samples: list[tuple[str, bytes, str, dict[str, Any]]] = [(str(n), jpeg(n), "", {"uid": f"u{n}"}) for n in range(3)]
    annotations = boxes(write_samples(tmp_path / "images/0.tar", samples), tmp_path / "boxes")
    files = theirs(tmp_path / "a.parquet", {"uid": [b"u0", b"u1", b"u2"], "caption": captions})
    totals, found = rendered(annotations, files, tmp_path / "out")
    assert (list(found.values()), totals.reasons) == (said, reasons)


def test_captions_that_expand_are_read_within_a_budget(tmp_path: Path) -> None:
    """A file of some kilobytes in which every image has the same caption of 12 MB."""
    samples: list[tuple[str, bytes, str, dict[str, Any]]] = [
        (f"{n:02}", jpeg(0), "", {"uid": f"u{n}"}) for n in range(40)
    ]
    annotations = boxes(write_samples(tmp_path / "images/0.tar", samples), tmp_path / "boxes")
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 40), pa.array(["A dog" + "x" * (12 << 20)]))
    table = pa.table({"uid": [f"u{n}" for n in range(40)], "caption": long})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 20_000
    with pytest.raises(UsageError, match=r"a\.parquet: the captions of one shard take more than the 256 MiB"):
        rendered(annotations, str(tmp_path / "a.parquet"), tmp_path / "out")
    others = table.set_column(0, "uid", pa.array([f"v{n}" for n in range(40)]))
    pq.write_table(others, tmp_path / "b.parquet", compression="zstd")
    assert rendered(annotations, str(tmp_path / "b.parquet"), tmp_path / "none")[0].reasons == {"no_caption": 40}
