"""A source is each of its sets once, and their samples are found and measured through all shards."""

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import PreTokenizer, Punctuation, WhitespaceSplit

from curation.mixture.options import MixtureOptions
from curation.mixture.planner import build_mixture_plan
from curation.mixture.sources import (
    MappedIndex,
    SourceMeasures,
    SourceSet,
    expand_folders,
    open_source,
    read_measures,
)
from curation.tokens import TokenCounter
from pipelines.output.training_shards import ShardWriter, make_sample
from pipelines.output.writer import commit
from schemas.errors import StorageError, UsageError
from schemas.output_set.manifest import Manifest, OutputFile
from schemas.output_set.recipe_file import RECIPE_FILE, dump_yaml
from schemas.output_set.shard_index import INDEX_SCHEMA
from schemas.records.document import Document
from schemas.storage.folder import Folder
from tests.curation.mixture.support.sets import make_fingerprint, make_row, write_set


def counter(splitter: PreTokenizer) -> TokenCounter:
    """Counts the pieces that this splitter cuts a text into."""
    made = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = splitter
    return TokenCounter(made.to_str().encode())


BY_WORD, BY_CLAUSE = counter(WhitespaceSplit()), counter(Punctuation())
TEXTS = ("one two three", "four, five")
"""They have 3 and 2 words, and 1 and 3 pieces around punctuation."""


def write_texts(
    folder: Path, counted_by: TokenCounter | None, texts: tuple[str, ...] = TEXTS, named: bool = True
) -> str:
    """Writes a finished set of one shard of these texts; returns its folder. `named`: its index names the tokenizer."""
    output = Folder(str(folder))
    output.make_folder()
    output.write(RECIPE_FILE, dump_yaml({"kind": "ingest"}))
    records = [Document(f"t{n}", None, "text", None, (text,), (), "{}") for n, text in enumerate(texts)]
    samples = [make_sample(record, "text", counted_by) for record in records]
    fingerprint = counted_by.fingerprint if counted_by and named else None
    written = ShardWriter(output, "webdataset", False, fingerprint).write("0", samples)
    others, rows = [written.index], len(samples)
    commit(output, Manifest.build("0", "", inputs=[], rows_in=rows, data=written.data, others=others))
    return str(folder)


def measure(*folders: str) -> SourceMeasures:
    """Returns the measures of these sets as one source."""
    return read_measures(open_source("text", folders), ("tokens", "characters"))


def test_a_folder_counts_once_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("sets", "sets/a", "sets/b"):
        Path(name).mkdir()
    written = ["./sets/a", "sets/a/", "sets//a", "sets/*", f"{tmp_path}/sets/c"]
    assert expand_folders("name", written) == [f"{tmp_path}/sets/c", "sets/a", "sets/b"]
    assert expand_folders("name", ["s3://bucket//a", "s3://bucket/a"]) == ["s3://bucket//a", "s3://bucket/a"]


def test_a_folder_that_exists_is_taken_literally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`set [v1]` is also the pattern of `set v`, whose samples must not take the place of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("set [v1]", "set v", "p{0,1}", "p000", "p001"):
        Path(name).mkdir()
    assert expand_folders("name", ["set [v1]"]) == expand_folders("name", ["set [v1]/"]) == ["set [v1]"]
    assert expand_folders("name", [f"{tmp_path}/set [v1]"]) == [f"{tmp_path}/set [v1]"]
    assert expand_folders("name", ["p{0,1}", "p{000..001}"]) == ["p000", "p001", "p{0,1}"]
    with pytest.raises(UsageError, match=r"^source name: no file matches p002$"):
        expand_folders("name", ["p{000..002}"])


def test_samples_are_numbered_through_all_shards(tmp_path: Path) -> None:
    """The index rows of any samples are found by shard and row, and measures are in the same order."""
    write_set(
        tmp_path / "a",
        {"00": [make_row("a0", images=1), make_row("a1", images=2)], "01": [], "02": [make_row("a2", images=3)]},
    )
    write_set(tmp_path / "b", {"00": [make_row("b0", images=4)]})
    source = open_source("name", [f"{tmp_path}/*"])
    assert (source.name, source.length) == ("name", 4)
    assert [(shard.path, shard.data.rows, shard.index.path) for shard in source.shards] == [
        (f"{tmp_path}/a/data/00.tar", 2, "index/00.parquet"),
        (f"{tmp_path}/a/data/01.tar", 0, "index/01.parquet"),
        (f"{tmp_path}/a/data/02.tar", 1, "index/02.parquet"),
        (f"{tmp_path}/b/data/00.tar", 1, "index/00.parquet"),
    ]
    found = read_measures(source, ["images", "tokens"])
    assert {name: values.tolist() for name, values in found.measures.items()} == {"images": [1, 2, 3, 4]}
    assert (found.tokenizer, found.has_documents) == (None, False)
    rows = MappedIndex(source, tmp_path).take(np.asarray([3, 0, 2, 0, 1]))
    assert [(row["key"], row["shard"], row["row"]) for row in rows.to_pylist()] == [
        ("b0", 3, 0),
        ("a0", 0, 0),
        ("a2", 2, 0),
        ("a0", 0, 0),
        ("a1", 0, 1),
    ]
    assert rows.schema.names == [*INDEX_SCHEMA.names, "shard", "row"]
    assert [each.name for each in tmp_path.glob("*.arrow")] == ["82a3537ff0dbce7e.arrow"]  # of the name's hash


def test_tokens_are_a_measure_if_all_are_counted_alike(tmp_path: Path) -> None:
    one, other = make_fingerprint("one"), make_fingerprint("other")
    text = make_row("b0", tokens=2, kind="text")
    a, b = (
        write_set(tmp_path / "a", {"00": [make_row("a0", tokens=1)], "01": []}, one),
        write_set(tmp_path / "b", {"00": [text]}, one),
    )
    write_set(tmp_path / "empty", {"00": []}, other)  # without samples, its tokenizer does not matter
    found = read_measures(open_source("name", [a, b, str(tmp_path / "empty")]), ["tokens"])
    assert (found.measures["tokens"].tolist(), found.tokenizer, found.has_documents) == ([1, 2], one, True)
    some = write_set(tmp_path / "some", {"00": [make_row("c0", tokens=1), make_row("c1")]}, one)
    found = read_measures(open_source("name", [some]), ["tokens", "characters"])
    assert (list(found.measures), found.tokenizer) == (["characters"], None)
    differing = write_set(tmp_path / "other", {"00": [make_row("d0", tokens=1)]}, other)
    with pytest.raises(UsageError, match=r"^source name: its sets' tokens were counted by different tokenizers$"):
        read_measures(open_source("name", [a, differing]), ["tokens"])


def test_sets_that_are_no_source(tmp_path: Path) -> None:
    empty = write_set(tmp_path / "empty", {"00": []})
    with pytest.raises(UsageError, match=f"^source name: there is no sample in {empty}$"):
        open_source("name", [empty])
    with pytest.raises(UsageError, match=f"^source name: {tmp_path} is not an output set: it has no recipe.yaml$"):
        open_source("name", [str(tmp_path)])
    unfinished = write_set(tmp_path / "unfinished", {"00": [make_row("a0")]})
    Folder(unfinished).write("parts/unfinished", b"")
    with pytest.raises(
        UsageError, match=f"^source name: {unfinished} is not finished: run its command again to resume"
    ):
        open_source("name", [unfinished])
    lost = write_set(tmp_path / "lost", {"00_001": [make_row("a0")]})
    with pytest.raises(UsageError, match=f"^source name: {lost} lacks the output 00: run its command again$"):
        open_source("name", [lost])
    assert open_source("name", [write_set(tmp_path / "mixed", {"00_001": [make_row("a0")]}, kind="mix")]).length == 1
    other = Folder(write_set(tmp_path / "other", {"00": [make_row("a0")]}, kind="tags"))
    manifest = Manifest.from_json(other.read("manifests/00.json"))
    for kept in ([], manifest.outputs[:1], manifest.outputs[1:]):
        other.write("manifests/00.json", manifest.model_copy(update={"outputs": kept}).to_json())
        told = f"^source name: {other.url} has no index: it is of kind 'tags', no set of training shards$"
        with pytest.raises(UsageError, match=told):
            open_source("name", [other.url])


def test_damaged_indexes_are_named(tmp_path: Path) -> None:
    folder = Folder(write_set(tmp_path / "a", {"00": [make_row("a0"), make_row("a1")]}))
    source = open_source("name", [folder.url])
    path = f"{folder.url}/index/00.parquet"
    good = folder.read("index/00.parquet")
    folder.write("index/00.parquet", good[:-1] + b"X")
    with pytest.raises(UsageError, match=f"^source name: {path} is not as it was committed: verify the set$"):
        read_measures(source, [])

    def replace_index(data: bytes) -> SourceSet:
        folder.write("index/00.parquet", data)
        [shard] = source.shards
        index = OutputFile(path=shard.index.path, rows=2, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        return replace(source, shards=(replace(shard, index=index),))

    with pytest.raises(UsageError, match=f"^source name: {path}"):
        read_measures(replace_index(b"PAR1 but no more"), [])
    for table in (pq.read_table(io.BytesIO(good)).slice(1), pq.read_table(io.BytesIO(good)).drop_columns("roles")):
        file = io.BytesIO()
        pq.write_table(table, file)
        with pytest.raises(
            UsageError, match=f"^source name: {path} is an index of another version: create the set again$"
        ):
            read_measures(replace_index(file.getvalue()), [])


def test_an_index_is_written_where_it_can_be(tmp_path: Path) -> None:
    source = open_source("name", [write_set(tmp_path / "a", {"00": [make_row("a0")]})])
    absent = tmp_path / "absent"
    with pytest.raises(StorageError, match=rf"^cannot write {absent}/82a3537ff0dbce7e.arrow: "):
        MappedIndex(source, absent)


def test_counts_of_one_tokenizer_add_up(tmp_path: Path) -> None:
    found = measure(write_texts(tmp_path / "a", BY_WORD), write_texts(tmp_path / "b", BY_WORD, ("six",)))
    assert found.measures["tokens"].tolist() == [3, 2, 1]
    assert found.measures["characters"].tolist() == [13, 10, 3]
    assert (found.tokenizer, found.has_documents) == (BY_WORD.fingerprint, True)


@pytest.mark.parametrize("counters", [(BY_WORD, BY_CLAUSE), (BY_CLAUSE, BY_WORD), (BY_WORD, None, BY_CLAUSE)])
def test_counts_of_two_tokenizers_are_refused(tmp_path: Path, counters: tuple[TokenCounter | None, ...]) -> None:
    """Their sum would be the number of nothing, whatever the mixture is weighted by: a mixture stores the counts."""
    folders = [write_texts(tmp_path / f"{number}", one) for number, one in enumerate(counters)]
    message = r"^source text: its sets' tokens were counted by different tokenizers$"
    with pytest.raises(UsageError, match=message):
        measure(*folders)
    for unit in ("samples", "tokens"):
        options = MixtureOptions.model_validate({"sources": {"text": folders}, "weights": {"text": 1}, "unit": unit})
        with pytest.raises(UsageError, match=message):
            build_mixture_plan(options, ())


@pytest.mark.parametrize("order", [(BY_WORD, None), (None, BY_WORD)])
def test_counts_of_some_sets_are_not_used(tmp_path: Path, order: tuple[TokenCounter | None, ...]) -> None:
    found = measure(*(write_texts(tmp_path / f"{number}", one) for number, one in enumerate(order)))
    assert found.measures.keys() == {"characters"}
    assert found.measures["characters"].tolist() == [13, 10, 13, 10]
    assert found.tokenizer is None


def test_counts_of_no_known_tokenizer_are_not_used(tmp_path: Path) -> None:
    found = measure(write_texts(tmp_path / "a", BY_WORD), write_texts(tmp_path / "b", BY_WORD, named=False))
    assert (found.measures.keys(), found.tokenizer) == ({"characters"}, None)


@pytest.mark.parametrize("empty", [BY_CLAUSE, None])
def test_a_shard_without_samples_has_no_say(tmp_path: Path, empty: TokenCounter | None) -> None:
    found = measure(write_texts(tmp_path / "a", BY_WORD), write_texts(tmp_path / "b", empty, ()))
    assert found.measures["tokens"].dtype == np.int32
    assert found.measures["tokens"].tolist() == [3, 2]
    assert found.tokenizer == BY_WORD.fingerprint


@pytest.mark.parametrize(("other", "same"), [(BY_WORD, True), (BY_CLAUSE, False), (None, False)])
def test_a_mixture_has_a_tokenizer_if_all_its_sources_have_it(
    tmp_path: Path, other: TokenCounter | None, same: bool
) -> None:
    sources = {"a": write_texts(tmp_path / "a", BY_WORD), "b": write_texts(tmp_path / "b", other)}
    planned = build_mixture_plan(MixtureOptions.model_validate({"sources": sources, "weights": {"a": 1, "b": 1}}), ())
    assert planned.tokenizer == (BY_WORD.fingerprint if same else None)
