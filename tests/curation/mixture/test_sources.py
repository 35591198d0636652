"""The folders of a source are each read once, and their samples' measures mean the same thing."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import PreTokenizer, Punctuation, WhitespaceSplit

from curation.mixture.options import MixtureOptions
from curation.mixture.planner import build_mixture_plan
from curation.mixture.sources import SourceMeasures, expand_folders, open_source, read_measures
from curation.tokens import TokenCounter
from pipelines.output.training_shards import ShardWriter, make_sample
from pipelines.output.writer import commit
from schemas.errors import UsageError
from schemas.output_set.manifest import Manifest
from schemas.output_set.recipe_file import RECIPE_FILE, dump_yaml
from schemas.records.document import Document
from schemas.storage.folder import Folder


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
