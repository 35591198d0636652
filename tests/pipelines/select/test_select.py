"""A selection is what plain Python would choose, the same bytes however it is run, and every row is accounted for."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.select.file
from pipelines.output.totals import Totals
from pipelines.recipes.select import SelectRecipe, SelectRun
from pipelines.select.run import select
from pipelines.verify.run import verify
from schemas.errors import ShardloomError, UsageError
from schemas.layouts.subset_file import UID_DTYPE
from schemas.output_set.layout import read_manifests
from schemas.output_set.recipe_file import read_recipe
from schemas.storage.folder import Folder
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.selections import (
    SCHEMA,
    faults_of,
    faulty_rows,
    pair,
    row,
    top_threshold,
    uid_of,
    write_metadata,
)
from tests.pipelines.support.sets import in_process, rows
from tests.support.s3.bucket import Bucket

SOUND = {"text": "A wooden table in the kitchen", "original_width": 600, "original_height": 600} | {
    f"clip_{name}_similarity_score": 0.5 for name in ("b32", "l14")
}  # stays, whatever the rules here

FILES = {
    "a": [row(number) for number in range(150)],
    "b": [row(number) for number in range(1000, 1200)] + faulty_rows(1200) + [row(1241, **SOUND)] * 2,
    "c": [],
    "d": [row(number) for number in range(50)],
}
"""Of which the last has uids of the first: only repeats in one file are left out."""

RULES: dict[str, Any] = {
    "min_clip_b32": 0.15,
    "top_fraction": 0.7,
    "min_side": 199,
    "max_aspect": 3,
    "max_width": 4000,
    "min_characters": 6,
    "min_words": 2,
    "languages": ["en", "und"],
}


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("metadata")
    for name, found in FILES.items():
        write_metadata(folder / f"{name}.parquet", found)
    return folder


def chosen(metadata: Path | str, output: Path | str, subset: Path | None = None, **values: Any) -> Totals:
    run = SelectRun(workers=1, subset=None if subset is None else str(subset))
    recipe = SelectRecipe(**{"input": [f"{metadata}/*.parquet"], "rules": RULES, "run": run} | values)
    return select(recipe, str(output))


def save(path: Path, uids: list[str]) -> str:
    np.save(path, np.sort(np.array([pair(uid) for uid in uids], UID_DTYPE)))
    return str(path)


def quarantine(output: Path, name: str) -> list[tuple[str, str | None, str]]:
    found = pq.read_table(output / f"quarantine/{name}.parquet").to_pylist()
    return [(row["key"], row["uid"], row["reason"]) for row in found]


def failed(*arguments: object) -> tuple[int, str]:
    """Exit code and last words of the command."""
    done = in_process("select", *arguments)
    return done.returncode, done.stderr.strip().splitlines()[-1]


def test_what_plain_python_would_choose(metadata: Path, tmp_path: Path) -> None:
    wanted = [uid_of(number) for number in (*range(0, 150, 2), *range(1000, 1300))]
    more = [uid_of(number) for number in range(1, 100, 2)]
    unwanted = [uid_of(number) for number in range(1000, 1300, 3)]
    totals = chosen(
        metadata,
        tmp_path / "out",
        uids=[save(tmp_path / "one.npy", wanted), save(tmp_path / "two.npy", more)],
        exclude=save(tmp_path / "not.npy", unwanted),
    )
    scores = [found["clip_l14_similarity_score"] for held in FILES.values() for found in held]
    recipe = SelectRecipe(input=["x"], rules=RULES)
    others = (
        top_threshold([score for score in scores if score is not None], 0.7),
        {pair(uid) for uid in wanted + more},
        {pair(uid) for uid in unwanted},
    )
    manifests = read_manifests(Folder(str(tmp_path / "out")))
    assert list(manifests) == list(FILES)
    every: Counter[str | None] = Counter()
    for name, held in FILES.items():
        faults = faults_of(held, recipe.rules, *others)
        every.update(faults)
        kept = [found for found, fault in zip(held, faults, strict=True) if fault is None]
        path = tmp_path / f"out/data/{name}.parquet"
        assert pq.read_table(path).to_pylist() == pa.Table.from_pylist(kept, schema=SCHEMA).to_pylist()
        assert pq.read_schema(path).equals(pq.read_schema(metadata / f"{name}.parquet"), check_metadata=True)
        counts = Counter(fault for fault in faults if fault is not None)
        assert manifests[name].reasons == dict(sorted(counts.items()))
        assert (manifests[name].rows_in, manifests[name].rows_out) == (len(held), len(kept))
        assert manifests[name].fingerprints["top_fraction"].settings["least"] == others[0]
        assert quarantine(tmp_path / "out", name) == [
            (str(at), found["uid"], fault)
            for at, (found, fault) in enumerate(zip(held, faults, strict=True))
            if fault in ("malformed_uid", "missing_url", "duplicate_uid")
        ]
    assert set(every) == {
        None, "malformed_uid", "missing_url", "missing_value", "low_similarity", "below_top_fraction", "too_small",
        "extreme_aspect", "too_short", "too_few_words", "not_in_subset", "excluded", "other_language", "duplicate_uid",
    }  # fmt: skip
    del every[None]
    assert totals.reasons == every
    assert verify(str(tmp_path / "out")) == (4, [])


def test_without_rules_every_sound_row_stays(metadata: Path, tmp_path: Path) -> None:
    totals = chosen(metadata, tmp_path / "out", rules={})
    assert (totals.rows_in, totals.rows_out) == (415, 406)
    assert totals.reasons == {"malformed_uid": 4, "missing_url": 2, "duplicate_uid": 3}
    details = {found["reason"]: found["detail"] for found in rows(tmp_path / "out", "quarantine")}
    assert details == {
        "malformed_uid": "the uid is not 32 hexadecimal digits",
        "missing_url": "no address",
        "duplicate_uid": "the file had this uid before",
    }


def test_the_bytes_are_the_same_however_rows_are_read(
    metadata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.select.file, "GROUP_ROWS", 32)
    chosen(metadata, tmp_path / "one", rules={"min_characters": 1})
    assert pq.read_metadata(tmp_path / "one/data/a.parquet").row_group(0).num_rows == 32
    monkeypatch.setattr(pipelines.select.file, "BATCH_ROWS", 7)
    chosen(metadata, tmp_path / "two", rules={"min_characters": 1})
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_two_workers_give_the_same_bytes(metadata: Path, tmp_path: Path) -> None:
    chosen(metadata, tmp_path / "one")
    chosen(metadata, tmp_path / "two", run=SelectRun(workers=2))
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_a_half_done_selection_goes_on(metadata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    chosen(metadata, out)
    made = hashes(out)
    (out / "manifests/b.json").unlink()
    (out / "data/b.parquet").write_bytes(b"half")
    (out / "data/d.parquet.tmp-1234abcd").write_bytes(b"left by a kill")
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    monkeypatch.setattr("pipelines.select.selection.find_threshold", None)  # manifests hold it
    chosen(metadata, out)
    assert hashes(out) == made
    again = {path.name for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert again == {"b.parquet"}


def test_a_changed_input_is_refused(tmp_path: Path) -> None:
    folder, out = tmp_path / "metadata", tmp_path / "out"
    for name in ("a", "b"):
        write_metadata(folder / f"{name}.parquet", FILES[name])
    subset = save(tmp_path / "subset.npy", [uid_of(1)])
    chosen(folder, out, uids=subset)
    write_metadata(folder / "d.parquet", FILES["d"])
    with pytest.raises(UsageError, match=r"the metadata, and with it the least score of its top fraction, has changed"):
        chosen(folder, out, uids=subset)
    chosen(folder, tmp_path / "all", uids=subset, rules={})
    write_metadata(folder / "e.parquet", [row(9000)])
    assert chosen(folder, tmp_path / "all", uids=subset, rules={}).outputs == 4  # what is new is added
    save(tmp_path / "subset.npy", [uid_of(2)])
    with pytest.raises(UsageError, match=r"subset files have changed since .*/data/a was committed"):
        chosen(folder, tmp_path / "all", uids=subset, rules={})
    save(tmp_path / "subset.npy", [uid_of(1)])
    write_metadata(folder / "b.parquet", FILES["b"][1:])
    with pytest.raises(UsageError, match=r"the metadata has changed since .*/data/b was committed"):
        chosen(folder, tmp_path / "all", uids=subset, rules={})


def test_the_subset_file_is_what_numpy_would_write(metadata: Path, tmp_path: Path) -> None:
    chosen(metadata, tmp_path / "out", tmp_path / "subset.npy")
    uids = {pair(found["uid"]) for found in rows(tmp_path / "out")}
    assert len(uids) < len(rows(tmp_path / "out"))  # two files share some
    np.save(tmp_path / "expected.npy", np.array(sorted(uids), UID_DTYPE))
    assert (tmp_path / "subset.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()
    again = chosen(metadata, tmp_path / "again", uids=str(tmp_path / "subset.npy"), rules={})
    assert rows(tmp_path / "again") == [row for row in rows(tmp_path / "again") if pair(row["uid"]) in uids]
    assert again.rows_out >= len(uids)


def test_a_subset_file_among_the_outputs_is_refused(metadata: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--subset .*/out/subset\.npy is inside the output set"):
        chosen(metadata, tmp_path / "out", tmp_path / "out/subset.npy")
    assert not (tmp_path / "out").exists()
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError, match=r"--subset .*/link/out/subset\.npy is inside the output set"):
        chosen(metadata, tmp_path / "out", tmp_path / "link/out/subset.npy")


def test_a_subset_file_in_the_place_of_an_input_is_refused(tmp_path: Path) -> None:
    write_metadata(tmp_path / "in/a.parquet", [row(1), row(2)])
    before = (tmp_path / "in/a.parquet").read_bytes()
    seen = save(tmp_path / "seen.npy", [uid_of(1)])
    for subset in (tmp_path / "in/a.parquet", tmp_path / "in/../seen.npy"):
        with pytest.raises(UsageError, match=rf"--subset {subset} is a file of the input, which it would replace"):
            chosen(tmp_path / "in", tmp_path / "out", subset, rules={}, exclude=[seen])
    assert (tmp_path / "in/a.parquet").read_bytes() == before
    assert not (tmp_path / "out").exists()
    chosen(tmp_path / "in", tmp_path / "out", tmp_path / "more.npy", rules={}, exclude=[seen])
    assert np.load(tmp_path / "more.npy").tolist() == [pair(uid_of(2))]


def test_columns_that_arrow_cannot_choose_rows_of_are_kept_as_others(tmp_path: Path) -> None:
    groups = [
        pa.table(
            {
                "uid": pa.array([uid_of(number) for number in numbers], pa.string_view()),
                "url": pa.array(["https://a"] * 100, pa.string_view()),
                "kind": pa.DictionaryArray.from_arrays(  # each row group has other values
                    pa.array(range(100), pa.int8()), pa.array([f"kind {number}" for number in numbers])
                ),
                "nested": pa.array([[b"a"]] * 100, pa.list_(pa.binary_view())),
            }
        )
        for numbers in (range(100), range(100, 200), range(200, 300))
    ]
    (tmp_path / "in").mkdir()
    with pq.ParquetWriter(tmp_path / "in/a.parquet", groups[0].schema) as writer:
        for group in groups:
            writer.write_table(group)
    totals = chosen(tmp_path / "in", tmp_path / "out", rules={}, exclude=[save(tmp_path / "one.npy", [uid_of(150)])])
    assert totals.reasons == {"excluded": 1}
    found = pq.read_table(tmp_path / "out/data/a.parquet")
    assert found.schema.types == [
        *(pa.large_string(), pa.large_string()),
        *(pa.dictionary(pa.int32(), pa.string()), pa.list_(pa.field("element", pa.large_binary()))),
    ]
    expected = [row for group in groups for row in group.to_pylist() if row["uid"] != uid_of(150)]
    assert found.to_pylist() == expected


def test_columns_of_any_kind_are_kept(tmp_path: Path) -> None:
    more = {
        "uid": pa.array([uid_of(1), "bad", uid_of(2), uid_of(3)]).dictionary_encode(),
        "url": pa.array(["https://a", "https://b", "https://c", "https://d"], pa.large_string()),
        "map": pa.array([[("a", 1)], None, [], [("b", None)]], pa.map_(pa.string(), pa.int8())),
        "when": pa.array([1, 2, None, 1 << 60], pa.timestamp("ns", "America/Sao_Paulo")),
        "half": pa.array([0.5, None, 1, 2], pa.float16()),
        "bytes": pa.array([b"12", b"34", None, b"\xff\xff"], pa.binary(2)),
        "price": pa.array([1, None, 2, 3], pa.decimal256(60, 3)),
        "nested": pa.array([{"a": [1]}, None, {"a": None}, {"a": []}], pa.struct([("a", pa.large_list(pa.int64()))])),
    }
    table = pa.table(more).replace_schema_metadata({"made": "by hand"})
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in/odd.parquet", row_group_size=2)
    chosen(tmp_path / "in", tmp_path / "out", rules={})
    found = pq.read_table(tmp_path / "out/data/odd.parquet")
    assert found.schema.equals(pq.read_schema(tmp_path / "in/odd.parquet"), check_metadata=True)
    assert found.to_pylist() == pq.read_table(tmp_path / "in/odd.parquet").take([0, 2, 3]).to_pylist()


def test_a_string_that_is_no_text_costs_no_neighbour(tmp_path: Path) -> None:
    held = [row(number, text="A wooden table in the kitchen", sha256="x" * 8) for number in range(5)]
    table = pa.Table.from_pylist(held, schema=SCHEMA)
    raw = {
        "text": [b"a wooden table", b"\xff\xfe", None, b"also", b"photo of a dog"],
        "sha256": [b"a", b"b", b"c", b"\xc3", b"e"],
    }
    for name, values in raw.items():
        broken = pa.array(values, pa.binary())
        strings = pa.StringArray.from_buffers(5, broken.buffers()[1], broken.buffers()[2], broken.buffers()[0])
        table = table.set_column(table.column_names.index(name), name, strings)
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in/a.parquet")
    totals = chosen(tmp_path / "in", tmp_path / "out", rules={"min_characters": 1, "languages": ["en"]})
    assert totals.reasons == {"malformed_row": 2, "too_short": 1}
    assert [found["uid"] for found in rows(tmp_path / "out")] == [uid_of(0), uid_of(4)]
    assert quarantine(tmp_path / "out", "a") == [("1", None, "malformed_row"), ("3", None, "malformed_row")]


@pytest.mark.parametrize(
    ("flags", "schema", "message"),
    [
        (["--min-words", "3"], [("uid", pa.string()), ("url", pa.string()), ("caption", pa.string())],
         r"error: .*/a\.parquet has no column text, but uid, url, caption"),
        ([], [("url", pa.string())], r"error: .*/a\.parquet has no column uid, but url"),
        (["--min-side", "9"], [("uid", pa.string()), ("url", pa.string()), ("original_width", pa.string())],
         r"error: .*/a\.parquet: column original_width holds string, not numbers"),
        ([], [("uid", pa.int64()), ("url", pa.string())], r"error: .*/a\.parquet: column uid holds int64, not texts"),
        ([], [(name, pa.string()) for name in ("uid", "url", "more", "more")],
         r"error: .*/a\.parquet has more than one column more: rename them"),
    ],
)  # fmt: skip
def test_columns_that_rules_lack_are_named(
    tmp_path: Path, flags: list[str], schema: list[tuple[str, pa.DataType]], message: str
) -> None:
    write_metadata(tmp_path / "in/a.parquet", [], schema=pa.schema(schema))
    code, words = failed(f"{tmp_path}/in/*.parquet", "--output", tmp_path / "out", *flags)
    assert (code, bool(re.fullmatch(message, words))) == (2, True), words
    assert not (tmp_path / "out").exists()


def test_wrong_use_is_one_line(metadata: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert failed(f"{tmp_path}/nothing*", "-o", out) == (2, f"error: no file matches {tmp_path}/nothing*")
    assert failed(f"{metadata}/*", "-o", out, "--language", "english")[1] == (
        "error: languages: py3langid does not know 'english': use ISO 639 codes, such as en, de, zh"
    )
    assert not out.exists()
    code, words = failed(f"{metadata}/*", "-o", out, "--top-fraction", "30")
    assert (code, words) == (2, "error: recipe: rules.top_fraction: input should be less than or equal to 1, not 30.0")
    assert failed(f"{metadata}/*") == (
        2,
        "error: no output folder: pass --output, or set run.output in the recipe",
    )
    (tmp_path / "text.parquet").write_text("uid,url\n")
    code, words = failed(tmp_path / "text.parquet", "-o", out)
    assert code == 2
    assert words.startswith(f"error: {tmp_path}/text.parquet is not a Parquet file: ")


@pytest.mark.parametrize("flags", [["--min-words", "1"], ["--top-fraction", "0.5"]])
def test_a_damaged_file_is_named_and_the_others_are_kept(tmp_path: Path, flags: list[str]) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    write_metadata(folder / "a.parquet", FILES["a"])
    write_metadata(folder / "b.parquet", FILES["b"])
    data = bytearray((folder / "b.parquet").read_bytes())
    group = pq.read_metadata(folder / "b.parquet").row_group(2)
    scores = next(column for column in map(group.column, range(9)) if column.path_in_schema.startswith("clip_l14"))
    first = scores.dictionary_page_offset or scores.data_page_offset
    data[first : first + scores.total_compressed_size] = b"\xff" * scores.total_compressed_size
    (folder / "b.parquet").write_bytes(data)
    code, words = failed(f"{folder}/*", "-o", out, "--workers", "1", *flags)
    assert code == 1
    assert words.startswith(f"error: cannot read {folder}/b.parquet: ")
    assert list(read_manifests(Folder(str(out)))) == (["a"] if flags[0] == "--min-words" else [])
    assert list((out / "data").glob("b.*")) == [] if out.joinpath("data").exists() else True


def test_a_file_that_changes_in_between_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_metadata(tmp_path / "in/a.parquet", FILES["a"])
    selection_of = pipelines.select.run.build_selection

    def meanwhile(*arguments: Any) -> Any:
        write_metadata(tmp_path / "in/a.parquet", FILES["b"])
        return selection_of(*arguments)

    monkeypatch.setattr("pipelines.select.run.build_selection", meanwhile)
    with pytest.raises(ShardloomError, match=r"in/a\.parquet has changed since the run began: rerun the command"):
        chosen(tmp_path / "in", tmp_path / "out")


def test_on_an_object_store(metadata: Path, tmp_path: Path, bucket: Bucket) -> None:
    subset = save(tmp_path / "subset.npy", [uid_of(number) for number in range(100)])
    chosen(metadata, tmp_path / "out", tmp_path / "chosen.npy", uids=subset)
    bucket.store.upload(metadata, f"{bucket.url}/metadata")
    bucket.store.put(f"{bucket.url}/subset.npy", Path(subset).read_bytes())
    recipe = SelectRecipe(
        input=[f"{bucket.url}/metadata/*.parquet"],
        rules=RULES,
        uids=[f"{bucket.url}/subset.npy"],
        run=SelectRun(workers=1, subset=f"{bucket.url}/chosen.npy"),
    )
    totals = select(recipe, f"{bucket.url}/out")
    assert totals.rows_out == len(rows(tmp_path / "out"))
    assert verify(f"{bucket.url}/out") == (4, [])
    there = Folder(bucket.url)
    assert there.read("chosen.npy") == (tmp_path / "chosen.npy").read_bytes()
    for name in FILES:
        assert there.read(f"out/data/{name}.parquet") == (tmp_path / f"out/data/{name}.parquet").read_bytes()


def test_the_command(metadata: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"kind: select\ninput: {metadata}/*.parquet\nrules: {{min_words: 3, languages: [en]}}\n")
    out, subset = tmp_path / "out", tmp_path / "subset.npy"
    done = in_process("select", recipe, "-o", out, "--max-aspect", "3", "--workers", "1", "--subset", subset, "--json")
    assert done.returncode == 0
    assert re.search(rf"^{subset}: \d+ uids", done.stderr, re.MULTILINE)
    told = json.loads(done.stdout)
    assert told["rows_in"] == 415 == told["rows_out"] + sum(told["reasons"].values())
    assert len(np.load(subset)) == len({found["uid"].lower() for found in rows(out)})
    assert json.loads(in_process("stats", out, "--json").stdout)["reasons"] == told["reasons"]
    assert in_process("verify", out).stdout == f"{out}: outputs as they were committed: 4 of 4\n"
    words = in_process("select", f"{metadata}/*", "-o", tmp_path / "top", "--top-fraction", "0.3", "--workers", "1")
    assert re.match(r"the top 0\.3 of 414 rows: clip_l14_similarity_score >= 0\.\d+\n", words.stderr)
    assert re.fullmatch(r"\S+: 415 rows in, \d+ out, \d+ left out \(.*\)\n", words.stdout)


def test_a_choice_of_nothing_is_said(metadata: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = SelectRecipe(input=[f"{metadata}/*.parquet"], rules={"min_width": 10**6}, run=SelectRun(workers=1))
    assert select(recipe, str(tmp_path / "out")).rows_out == 0
    assert capsys.readouterr().err == "nothing was chosen\n"


def test_languages_may_be_in_capitals(metadata: Path, tmp_path: Path) -> None:
    chosen(metadata, tmp_path / "out", rules={"languages": ["EN"]})
    assert read_recipe(str(tmp_path / "out/recipe.yaml"))["rules"]["languages"] == ["en"]


def test_columns_of_uuids_are_kept_as_they_are(tmp_path: Path) -> None:
    """Within structs, lists and maps too, of which Arrow makes no empty table."""
    found = [row(number, **SOUND) for number in range(5)]
    write_metadata(tmp_path / "plain.parquet", found)
    table = pq.read_table(tmp_path / "plain.parquet")
    ids = pa.array([bytes([number]) * 16 for number in range(5)], pa.uuid())
    ends = pa.array(range(6), pa.int32())
    added = {
        "id": ids,
        "var": pa.StructArray.from_arrays([ids, pa.array(["x"] * 5).dictionary_encode()], ["typed_value", "kind"]),
        "ids": pa.ListArray.from_arrays(ends, ids),
        "by_name": pa.MapArray.from_arrays(ends, pa.array(["a"] * 5), ids),
    }
    for name, column in added.items():
        table = table.append_column(name, column)
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in/a.parquet")
    assert chosen(tmp_path / "in", tmp_path / "out", rules={}).rows_out == 5
    kept = pq.read_table(tmp_path / "out/data/a.parquet")
    assert kept.schema.field("var").type == table.schema.field("var").type
    assert kept.select(list(added)).to_pylist() == table.select(list(added)).to_pylist()


@pytest.mark.parametrize(
    "name", ["encrypt_columns_plaintext_footer.parquet.encrypted", "shredded_variant_case-037.parquet"]
)
def test_files_of_others_end_in_one_line(data: Path, tmp_path: Path, name: str) -> None:
    """The first aborted the process, the second had no row for it."""
    copy = shutil.copy(data / "corpora" / name, tmp_path / "a.parquet")
    done = in_process("select", copy, "--output", tmp_path / "out")
    told = {
        "e": f"error: {copy} is encrypted (columns float_field, double_field): decrypt it first\n",
        "s": f"error: {copy} has no column uid, but id, var\n",
    }
    assert (done.returncode, done.stderr) == (2, told[name[0]])
