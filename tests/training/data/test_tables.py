"""Tables tell the lengths that samples turn out to have, from indexes or from texts; a table is made once."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from curation.mixture.reader import ShardFiles, build_record
from curation.mixture.sources import open_source
from curation.tokens import TokenCounter
from schemas.errors import UsageError
from tests.training.support import chat_templates
from tests.training.support.chat_templates import PUBLISHED, Published
from tests.training.support.sets import PATCH, TILE, TOKENS_PER_TILE, captioned, document, tokenizer, write_set
from training.data.counting import NO_CAPTION, NO_TEXT, UNREADABLE, PartTokenCounter
from training.data.images import ImageTiler
from training.data.markup import Markup
from training.data.options import DataOptions, SourceTextOptions
from training.data.pieces import Piece
from training.data.plan import count_sample_tiles
from training.data.samples import SampleTokenizer
from training.data.tables import NUMBER_NAMES, SampleTable, TableMaker
from training.model.tiling_options import AnyResolutionOptions

RECORDS = [
    document(0, ["Hello", "there", (200, 50), "und Tschüß"]),
    document(1, [(64, 48), (48, 64), "x"]),
    document(2, ["text alone"]),
    document(3, ["a", "b"], ["user", "assistant"]),
    document(4, ["s", (30, 300), "b", "c", "d"], ["system", "user", "user", "assistant", "user"]),
    document(5, [(64, 48)]),
]
STORED = SourceTextOptions()


def maker(folder: Path, rule: SourceTextOptions = STORED, **changes: Any) -> TableMaker:
    words, _ = tokenizer(folder)
    options = DataOptions.model_validate(
        {"sources": {"a": "a"}, "weights": {"a": 1}, "system_prompt": "Be kind."} | changes
    )
    shape = ImageTiler(AnyResolutionOptions(enabled=True), TILE, PATCH, TOKENS_PER_TILE)
    return TableMaker(
        PartTokenCounter(words, rule, options.seed),
        Markup.from_tokenizer(words, options, TOKENS_PER_TILE),
        shape,
        str(folder / "cache"),
    )


def table(folder: Path, found: str | list[str], rule: SourceTextOptions = STORED) -> SampleTable:
    return maker(folder, rule).open(open_source("docs", [found] if isinstance(found, str) else found))


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_lengths_are_those_of_the_segments(
    tmp_path: Path, form: Literal["webdataset", "parquet"], counts: bool
) -> None:
    words, _ = tokenizer(tmp_path)
    made = table(tmp_path, write_set(tmp_path / "docs", RECORDS, words if counts else None, form))
    numbers = {name: made.numbers[name].tolist() for name in NUMBER_NAMES}
    assert numbers["tokens"] == [10 + len("und Tschüß".encode()), 1, 10, 2, 4, 0]
    assert numbers["images"] == [1, 2, 0, 0, 1, 1]
    assert numbers["characters"] == [20, 1, 10, 2, 4, 0]
    assert numbers["tiles"] == [4, 6, 0, 0, 4, 3]
    assert numbers["words"][5] == NO_TEXT
    rows = made.rows.take(np.asarray([4, 0, 3, 2, 1]))
    assert [row["key"] for row in rows] == ["d000004", "d000000", "d000003", "d000002", "d000001"]
    own = maker(tmp_path)
    reader, files = SampleTokenizer(own.counter.tokenizer, own.markup, 0), ShardFiles()
    for number, found in zip((4, 0, 3, 2, 1), files.read(rows), strict=True):
        record = build_record(found.row, found.members, found.row["key"])
        segment = reader.tokenize(record, STORED, Piece(), count_sample_tiles(own.tiler, found.row))
        assert segment is not None
        assert len(segment.ids) == numbers["words"][number] + numbers["tiles"][number] * TOKENS_PER_TILE
    files.close()


@pytest.mark.parametrize("first", range(3))
@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_sets_that_another_tokenizer_counted_are_counted_anew(
    tmp_path: Path, form: Literal["webdataset", "parquet"], first: int
) -> None:
    """The sets of one source may have been counted by different tokenizers, or not at all."""
    words, _ = tokenizer(tmp_path)
    by_word = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
    by_word.pre_tokenizer = WhitespaceSplit()
    counters = (words, TokenCounter(by_word.to_str().encode()), None)
    folders = [
        write_set(tmp_path / str(number), [document(number, [f"{number} is one", (64, 48), "b"])], counter, form)
        for number, counter in enumerate((*counters[first:], *counters[:first]))
    ]
    made = table(tmp_path, folders)
    assert made.numbers["tokens"].tolist() == [9, 9, 9]
    assert made.numbers["words"].tolist() == [11, 11, 11]
    assert [row["part_tokens"] for row in made.rows.take(np.arange(3))] == [[8, None, 1]] * 3


def maker_of(folder: Path, published: Published, **changes: Any) -> TableMaker:
    """For a tokenizer with this chat template."""
    words = chat_templates.load(folder / "tokenizer", published)
    options = DataOptions.model_validate({"sources": {"a": "a"}, "weights": {"a": 1}} | changes)
    shape = ImageTiler(AnyResolutionOptions(enabled=True), TILE, PATCH, TOKENS_PER_TILE)
    markup = Markup.from_tokenizer(words, options, TOKENS_PER_TILE)
    return TableMaker(PartTokenCounter(words, STORED, 0), markup, shape, str(folder / "cache"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_lengths_with_a_bos_and_a_chat_template(tmp_path: Path, name: str) -> None:
    bos = PUBLISHED[name].bos is not None
    own = maker_of(tmp_path, PUBLISHED[name], bos=bos or "auto")
    words = own.counter.tokenizer
    made = own.open(open_source("docs", [write_set(tmp_path / "docs", RECORDS[:5], words)]))
    reader, files = SampleTokenizer(words, own.markup, 0), ShardFiles()
    planned = made.numbers["words"] + made.numbers["tiles"] * TOKENS_PER_TILE
    for number, found in enumerate(files.read(made.rows.take(np.arange(5)))):
        record = build_record(found.row, found.members, found.row["key"])
        segment = reader.tokenize(record, STORED, Piece(), count_sample_tiles(own.tiler, found.row))
        assert segment is not None
        assert (len(segment.ids), words.bos in segment.ids) == (planned[number], bos)
    files.close()


def test_tables_of_phi3s_markers_keep_their_names(tmp_path: Path) -> None:
    """What was made before there were chat templates and a BOS is found."""
    assert maker(tmp_path).markup.fingerprint == (
        "Markup(image=262, tokens_per_tile=4, end_of_chunk=(264,), joint=(10,), end=256, pad=261, chat=ChatTemplate("
        "openings={'system': (257, 10), 'user': (258, 10), 'assistant': (259, 10)}, closing=(260, 10), "
        "after_image=(10,), system=(257, 10, 66, 101, 32, 107, 105, 110, 100, 46, 260, 10)))"
    )


def test_what_a_template_lacks_is_told_where_there_are_conversations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gemma, refused = PUBLISHED["gemma"], replace(PUBLISHED["chatml"], template=chat_templates.QWEN3)
    documents = open_source("docs", [write_set(tmp_path / "docs", RECORDS[:3])])
    talks = open_source("talks", [write_set(tmp_path / "talks", RECORDS[3:5], shard=1)])
    maker_of(tmp_path / "gemma", gemma).open(documents)
    maker_of(tmp_path / "refused", refused).open(documents)
    assert capsys.readouterr().err == ""
    maker_of(tmp_path / "gemma", gemma).open(talks)
    told = "source talks: the chat template has no system turn: its words go before the user's first ones\n"
    assert capsys.readouterr().err == told
    with pytest.raises(UsageError, match=r"^tokenizer: its chat template can't be split into turns: "):
        maker_of(tmp_path / "refused", refused).open(talks)


@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_a_rule_is_counted_from_the_texts(tmp_path: Path, form: Literal["webdataset", "parquet"]) -> None:
    captions = json.dumps([{"text": "four", "granularity": 4, "include_datacomp_raw_cap": False}])
    records = [
        captioned(0, "stored", captions=captions),
        captioned(1, "other"),
        captioned(2, ""),
        *(captioned(n, "x" * n, captions=captions) for n in range(3, 9)),
    ]
    words, _ = tokenizer(tmp_path)
    found = write_set(tmp_path / "docs", records, words, form, shard=2)
    chosen = table(tmp_path, found, SourceTextOptions(granularities=[4]))
    assert chosen.numbers["words"].tolist() == [6, NO_CAPTION, NO_CAPTION, *[6] * 6]
    assert chosen.numbers["tokens"].tolist() == [4, 0, 0, *[4] * 6]
    assert [row["part_tokens"] for row in chosen.rows.take(np.asarray([8, 1, 0]))] == [[None, 4], None, [None, 4]]
    assert table(tmp_path, found).numbers["words"].tolist() == [8, 7, NO_TEXT, *(n + 2 for n in range(3, 9))]


@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_captions_are_chosen_alike_when_a_mixture_has_given_new_keys(
    tmp_path: Path, form: Literal["webdataset", "parquet"]
) -> None:
    captions = json.dumps([{"text": "x" * n, "granularity": n, "include_datacomp_raw_cap": False} for n in range(1, 9)])
    found = write_set(
        tmp_path / "docs", [captioned(n, "", captions=captions) for n in range(12)], form=form, renamed=True
    )
    rule = SourceTextOptions(granularities=list(range(1, 9)))
    made, own = table(tmp_path, found, rule), maker(tmp_path, rule)
    rows = made.rows.take(np.arange(12))
    assert rows[0]["key"] == "new-c000000"
    reader, files = SampleTokenizer(own.counter.tokenizer, own.markup, 0), ShardFiles()
    lengths = []
    for one in files.read(rows):
        segment = reader.tokenize(build_record(one.row, one.members, one.row["key"]), rule, Piece(), [0])
        assert segment is not None
        lengths.append(len(segment.ids))
    assert made.numbers["words"].tolist() == lengths
    files.close()


def test_documents_have_no_captions_to_choose_from(tmp_path: Path) -> None:
    found = write_set(tmp_path / "docs", RECORDS)
    fault = r"^texts.docs: granularities and raw_caption choose among the captions of an image, but the source has "
    with pytest.raises(UsageError, match=fault):
        table(tmp_path, found, SourceTextOptions(raw_caption=True))
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_a_sample_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    found = write_set(tmp_path / "docs", [document(0, ["one"]), document(1, ["two"])])
    shard = tmp_path / "docs/data/00000000.tar"
    shard.write_bytes(shard.read_bytes().replace(b'"parts": [{"text": "two"', b'"parts": [{"text": "two\0'))
    assert table(tmp_path, found).numbers["words"].tolist() == [4, UNREADABLE]


def test_a_table_is_made_once_and_anew_where_something_else_is_asked(tmp_path: Path) -> None:
    words, _ = tokenizer(tmp_path)
    found = write_set(tmp_path / "docs", RECORDS, words)
    table(tmp_path, found)
    cache = tmp_path / "cache"
    made = {path: path.stat().st_ino for path in cache.iterdir() if path.is_dir()}
    table(tmp_path, found)
    assert {path: path.stat().st_ino for path in cache.iterdir() if path.is_dir()} == made
    assert len(made) == 1
    keys = {
        maker(tmp_path, rule, **changes).compute_key(open_source("docs", [found]))
        for rule, changes in (
            (STORED, {}),
            (SourceTextOptions(strip_filler=True), {}),
            (SourceTextOptions(strip_filler=True), {"seed": 1}),
            (STORED, {"end_of_chunk": False}),
            (STORED, {"system_prompt": None}),
        )
    }
    assert len(keys) == 5
    assert maker(tmp_path, seed=1).compute_key(open_source("docs", [found])) in keys  # the stored text hangs on no seed
    write_set(tmp_path / "more", RECORDS[:3], words)
    assert maker(tmp_path).compute_key(open_source("docs", [found, str(tmp_path / "more")])) not in keys


def test_a_cache_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    found = write_set(tmp_path / "docs", RECORDS)
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(UsageError, match=rf"^cache: cannot write {tmp_path}/cache: .*; set data.cache$"):
        table(tmp_path, found)
