"""The partition finds what a scan of all caption files finds, whatever the rows, and outlives a kill."""

import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.inputs import caption_rows
from pipelines.recipes.base import RunOptions
from pipelines.recipes.render import RenderRecipe
from pipelines.render import caption_partition, sample_index
from pipelines.render.base_captions import BaseCaptionFiles, ShardBaseCaptions, read_identities
from pipelines.render.caption_partition import CaptionPartition, find_captions, read_columns
from pipelines.render.caption_runs import SegmentList, read_lists, read_next, read_segments
from pipelines.render.run import render_set
from schemas.errors import ShardloomError
from schemas.output_set.manifest import OutputFile
from schemas.records.box import Detection
from schemas.storage import parquet
from schemas.storage.folder import Folder
from tests.conftest import REPOSITORY, jpeg
from tests.pipelines.support.contexts import context_of
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.sets import ALONE, annotation_set, grounding_set, line, write_samples

IDENTITY = ("key", "uid", "url", "sha256")
KINDS = {name: pa.string() for name in IDENTITY}


def write_annotations(folder: Path, shards: dict[str, list[dict[str, Any]]]) -> dict[str, OutputFile]:
    """The files of an annotation set as far as they identify samples."""
    files = {}
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name, found in shards.items():
        path = folder / f"data/{name}.parquet"
        pq.write_table(pa.Table.from_pylist(found, schema=pa.schema(list(KINDS.items()))), path)
        size, sha256 = Folder(str(folder)).hash_file(f"data/{name}.parquet")
        files[name] = OutputFile(path=f"data/{name}.parquet", rows=len(found), size=size, sha256=sha256)
    return files


def describe(found: ShardBaseCaptions) -> Any:
    """What was found, to be compared: faults are compared by their words."""
    return (
        {key: (str(match.row), match.matched_by, match.counts) for key, match in found.found.items()},
        {key: str(fault) for key, fault in found.faults.items()},
    )


def look_up_all(
    output: Path, bases: BaseCaptionFiles, annotations: Path, files: dict[str, OutputFile]
) -> dict[str, tuple[Any, Any]]:
    """For each annotation file what the partition finds, and what a scan finds."""
    folder = Folder(str(annotations))
    partition = CaptionPartition(context_of(Folder(str(output)), RunOptions(workers=1)), bases, folder, files)
    found = {}
    for name, file in files.items():
        samples = read_identities(read_columns(folder, file, IDENTITY).to_arrow(), name)
        part = find_captions(Folder(str(output)), bases, partition.find_segments(name), samples)
        found[name] = (describe(part), describe(bases.look_up(samples)))
    return found


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of some rows, runs of some batches, and rows of three shards that go to all."""
    monkeypatch.setattr(parquet, "BATCH_BYTES", 400)
    monkeypatch.setattr(caption_partition, "RUN_BYTES", 1000)
    monkeypatch.setattr(sample_index, "MAX_COPIES", 2)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("seed", range(6))
def test_the_same_as_a_scan(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)

    def draw(name: str, most: int) -> str | None:
        return dice.choice([None, "", *[f"{name}{dice.randrange(most)}"] * 6])

    def draw_rows(count: int) -> list[dict[str, Any]]:
        ids = {"uid": 60, "url": 40, "sha256": 50}
        return [{name: draw(name, most) for name, most in ids.items()} for _ in range(count)]

    shards = {
        f"0000{number}": [{"key": f"{key}"} | row | {"sha256": row["sha256"] or "z"} for key, row in enumerate(found)]
        for number, found in enumerate([draw_rows(25), [], draw_rows(1), draw_rows(30), draw_rows(30)])
    }
    files = write_annotations(tmp_path / "annotations", shards)
    (tmp_path / "files").mkdir()
    texts = ["A dog", "A cat", "\ufeffA dog", "", None, "A dog"]
    for number, columns in enumerate([("uid", "url", "sha256"), ("url",), ("uid", "sha256")]):
        found = [{name: row[name] for name in columns} | {"caption": dice.choice(texts)} for row in draw_rows(70)]
        table = pa.Table.from_pylist(found, schema=pa.schema([(name, pa.string()) for name in (*columns, "caption")]))
        pq.write_table(table, tmp_path / f"files/{number}.parquet", row_group_size=dice.choice([9, 30, 100]))
    bases = BaseCaptionFiles.open(f"{tmp_path}/files/*.parquet", None)
    assert (bases.attributes, bases.shards) == (("sha256", "uid", "url"), (None,) * 3)
    compared = look_up_all(tmp_path / "out", bases, tmp_path / "annotations", files)
    assert all(found == wanted for found, wanted in compared.values())
    assert sum(len(wanted[0]) for _, wanted in compared.values()) > 20
    assert len(list((tmp_path / "out/parts/captions").glob("*.rows"))) > 3


@pytest.mark.usefixtures("small_parts")
def test_the_same_as_a_scan_of_own_sets(tmp_path: Path) -> None:
    """Rows of own sets are found by shard and key too, and by images that many shards share."""
    for name, first in (("0", 0), ("1", 4), ("2", 8), ("3", 0)):
        samples = [(f"{n}", jpeg(n % 3 if n % 2 else first + n), f"A dog, {name} {n}", {}) for n in range(6)]
        write_samples(tmp_path / f"images/{name}.tar", samples)
        write_samples(
            tmp_path / f"other/{name}.tar", [(key, jpeg(9), text, more) for key, _, text, more in samples[:2]]
        )
    annotations = annotation_set(f"{tmp_path}/images/*.tar", tmp_path / "annotations", lambda key: [line(key)])
    other = annotation_set(f"{tmp_path}/other/[01].tar", tmp_path / "lines", lambda key: [line(key)])
    files = {f"{n}": OutputFile(path=f"data/{n}.parquet", rows=6, size=0, sha256="") for n in range(4)}
    for captions, count in ((annotations, 24), (other, 0)):
        bases = BaseCaptionFiles.open(f"{captions}/data/*.parquet", None)
        compared = look_up_all(tmp_path / captions.name, bases, annotations, files)
        assert all(found == wanted for found, wanted in compared.values())
        assert sum(len(wanted[0]) for _, wanted in compared.values()) == count
    assert {len(wanted[1]) for _, wanted in compared.values()} == {0, 2}, "others' bytes under the same keys"


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(
    ("column", "captions"),
    [
        ("row", ["A dog", None, "A cat", ""]),
        ("target", [b"A dog", b"caf\xe9", None, b""]),
        ("url", ["u0", "u1", "", None]),
        ("caption", [["A dog"], [], None, ["A cat"]]),
        ("caption", [{"a": "A dog"}, None, {"a": None}, {"a": "b"}]),
        ("caption", pa.array([[("a", "A dog")], [], None, []], pa.map_(pa.string(), pa.string()))),
        ("caption", pa.array([b"A dog", b"caf\xe9", None, b"\xff"]).view(pa.string())),
        ("caption", pa.array(["A dog", None, "A dog", ""], pa.string_view())),
        ("caption", pa.array(["A dog", None, "A dog", ""]).dictionary_encode()),
        ("caption", pa.array([0, 1, None, 2], pa.timestamp("us", "Asia/Nowhere"))),
        ("caption", [1.5, float("nan"), None, 2.0]),
        ("caption", [True, False, None, True]),
    ],
)
@pytest.mark.parametrize(
    "uids",
    [
        pa.array([0.0, 1.0, None, 3.0]),
        pa.array([b"0", b"\xff", b"2", b"3"]),
        pa.array(["0", "1", "2", "3"]).dictionary_encode(),
        pa.array([["0"], None, [], []]),
    ],
)
def test_the_same_as_a_scan_of_any_types(tmp_path: Path, column: str, captions: Any, uids: pa.Array) -> None:
    samples = [{"key": f"{n}", "uid": f"{n}", "url": f"u{n}", "sha256": "z"} for n in range(4)]
    files = write_annotations(tmp_path / "annotations", {"0": samples[:3], "1": samples[3:]})
    table = pa.table({"uid": uids, "sha256": ["x", "z", "x", "z"], column: captions})
    pq.write_table(table, tmp_path / "captions.parquet", row_group_size=3)
    bases = BaseCaptionFiles.open(f"{tmp_path}/captions.parquet", column)
    compared = look_up_all(tmp_path / "out", bases, tmp_path / "annotations", files)
    assert all(found == wanted for found, wanted in compared.values())
    assert any(wanted != ({}, {}) for _, wanted in compared.values())


def test_rows_for_all_files_count_where_they_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of one shard may take so many bytes; those that go to all files are no rows of the last."""
    monkeypatch.setattr(sample_index, "MAX_COPIES", 2)
    monkeypatch.setattr(caption_rows, "MAX_BYTES", 2000)
    shards = {f"{n}": [{"key": "0", "uid": "b" if n == 3 else "a", "url": None, "sha256": "x"}] for n in range(4)}
    files = write_annotations(tmp_path / "annotations", shards)
    table = pa.table({"uid": ["a"] * 40 + ["b"], "caption": ["A dog" * 20] * 41})
    pq.write_table(table, tmp_path / "captions.parquet")
    bases = BaseCaptionFiles.open(f"{tmp_path}/captions.parquet", None)
    last = {"3": files["3"]}
    partition = CaptionPartition(
        context_of(Folder(str(tmp_path / "out")), RunOptions(workers=1)),
        bases,
        Folder(str(tmp_path / "annotations")),
        files,
    )
    assert [segment.file for segment in partition.find_segments("3")] == [0, 0]
    ((part, wanted),) = look_up_all(tmp_path / "out", bases, tmp_path / "annotations", last).values()
    assert (part == wanted, len(part[0])) == (True, 1)
    with pytest.raises(ShardloomError, match=r"captions\.parquet: the captions of one shard take more than"):
        look_up_all(tmp_path / "out", bases, tmp_path / "annotations", files)


def write_captions(folder: Path, files: int, rows: int, group: int) -> str:
    """Caption files with a row for each sample of `draw_boxes`, one after the other."""
    folder.mkdir()
    for number in range(files):
        uids = [f"u{row}" for row in range(number, rows, files)]
        table = pa.table({"uid": uids, "caption": [f"A dog, {uid}" for uid in uids]})
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=group)
    return f"{folder}/*.parquet"


def draw_boxes(folder: Path, shards: int, each: int) -> Path:
    """An annotation set of these many shards with a dog in each image."""
    for shard in range(shards):
        uids = [f"u{number}" for number in range(shard, shards * each, shards)]
        write_samples(folder / f"images/{shard}.tar", [(uid, jpeg(0, 16, 16), "", {"uid": uid}) for uid in uids])
    dog = [Detection("dog", "dog", (0.25, 0.25, 0.75, 0.75), 0.75)]
    return grounding_set(f"{folder}/images/*.tar", folder / "boxes", lambda _: dog, lambda _: [])


def test_each_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotations, captions = draw_boxes(tmp_path, shards=4, each=3), write_captions(tmp_path / "captions", 2, 12, 2)
    scanned = []
    read = caption_partition.read_places

    def record(file: parquet.Parquet, group: int, *rest: Any) -> Any:
        scanned.append((Path(file.path).name, group))
        return read(file, group, *rest)

    monkeypatch.setattr(caption_partition, "read_places", record)
    recipe = RenderRecipe(family="grounding", input=str(annotations), caption_from=captions, run=ALONE)
    totals = render_set(recipe, str(tmp_path / "out"))
    assert (totals.rows_out, totals.quarantined) == (12, 0)
    assert scanned == [(f"{file}.parquet", group) for file in range(2) for group in range(3)]
    assert not (tmp_path / "out/parts").exists()


KILLED = """
import os, signal, sys
from pipelines.recipes.render import RenderRecipe
from pipelines.render import caption_partition
from pipelines.render.run import render_set
from schemas.storage import parquet
from schemas.storage.folder import Folder

parquet.BATCH_BYTES, caption_partition.RUN_BYTES = 100, 200
annotations, captions, output, run = sys.argv[1:]
write = Folder.write

def write_or_die(self, name, data):
    if name == f"parts/captions/{run}.parquet":
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, name, data)

Folder.write = write_or_die
render_set(RenderRecipe(family="grounding", input=annotations, caption_from=captions, run={"workers": 1}), output)
"""


def test_a_killed_pass_goes_on(tmp_path: Path) -> None:
    """It is killed as it writes the lists of runs 1 and 3: the second pass keeps run 0 and makes run 1 again.

    The runs end within row groups.
    """
    annotations, captions = draw_boxes(tmp_path, shards=3, each=8), write_captions(tmp_path / "captions", 2, 24, 12)
    output = tmp_path / "out"
    kept: dict[Path, tuple[int, bytes]] = {}
    for run in ("00000001", "00000003"):
        command = [sys.executable, "-c", KILLED, str(annotations), captions, str(output), run]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
        assert done.returncode == -signal.SIGKILL, done.stderr
        runs = sorted((output / "parts/captions").glob("0*"))
        assert [path.name for path in runs][-1] == f"{run}.rows"
        assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in kept} == kept
        kept = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in runs[:-1]}
    assert len(kept) == 6, "runs 0 to 2, with their lists"
    part = Folder(str(output))
    lists = read_lists(part)
    assert all(read_next(lists[: run + 1]).row % 12 for run in range(3)), "within row groups"
    segments = [each for target in range(3) for each in SegmentList(lists).find(target)]
    held = [
        (file, row)
        for file, batches in read_segments(part, segments)
        for each in batches
        for row in each["row"].to_pylist()
    ]
    assert len(held) == len(set(held)) > 8, "no row twice"
    recipe = RenderRecipe(family="grounding", input=str(annotations), caption_from=captions, run=ALONE)
    assert render_set(recipe, str(output)).rows_out == 24
    render_set(recipe, str(tmp_path / "again"))
    assert hashes(output) == hashes(tmp_path / "again")


def test_a_partition_of_other_files_is_made_anew(tmp_path: Path) -> None:
    shards = {"0": [{"key": "0", "uid": "a", "url": None, "sha256": "x"}]}
    files = write_annotations(tmp_path / "annotations", shards)
    captions = tmp_path / "captions.parquet"
    for uid, text, found in (("a", "one", 1), ("a", "another", 1), ("b", "yet another", 0)):
        pq.write_table(pa.table({"uid": [uid], "caption": [text]}), captions)
        bases = BaseCaptionFiles.open(str(captions), None)
        for _ in range(2):  # the second time it is complete
            ((part, wanted),) = look_up_all(tmp_path / "out", bases, tmp_path / "annotations", files).values()
            assert (part == wanted, len(part[0])) == (True, found)
    shards["1"] = [{"key": "0", "uid": "b", "url": None, "sha256": "x"}]
    more = write_annotations(tmp_path / "annotations", shards)
    compared = look_up_all(tmp_path / "out", bases, tmp_path / "annotations", more)
    assert [len(part[0]) for part, _ in compared.values()] == [0, 1]
    (tmp_path / "out/parts/captions/plan.json").write_text("{")
    assert look_up_all(tmp_path / "out", bases, tmp_path / "annotations", more) == compared


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda _: b"", None])
def test_damaged_annotations_are_named(tmp_path: Path, damage: Any) -> None:
    files = write_annotations(tmp_path / "annotations", {"0": [dict.fromkeys(IDENTITY, "a")]})
    path = tmp_path / "annotations/data/0.parquet"
    if damage is None:
        write_annotations(tmp_path / "annotations", {"0": [dict.fromkeys(IDENTITY, "a")] * 2})
    else:
        path.write_bytes(damage(path.read_bytes()))
    pq.write_table(pa.table({"uid": ["a"], "caption": ["A dog"]}), tmp_path / "captions.parquet")
    bases = BaseCaptionFiles.open(str(tmp_path / "captions.parquet"), None)
    with pytest.raises(ShardloomError, match=rf"^{path} is not as it was committed: verify the set$"):
        look_up_all(tmp_path / "out", bases, tmp_path / "annotations", files)
