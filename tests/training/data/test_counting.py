"""Texts are read where the index says, if that is inside the shard."""

import json
from pathlib import Path
from typing import Any, Literal, cast

import pyarrow as pa
import pytest

from curation.captions.filler import strip_filler
from curation.mixture.sources import SourceSet, SourceShard, open_source, read_indexes
from schemas.errors import ShardloomError
from schemas.output_set.manifest import OutputFile
from schemas.storage.folder import Folder
from tests.training.support.sets import captioned, document, tokenizer, write_set
from training.data.counting import NO_CAPTION, UNREADABLE, PartTokenCounter, _read_tar_parts
from training.data.options import SourceTextOptions
from training.data.texts import select_caption


def test_a_member_outside_its_shard_is_not_read(tmp_path: Path) -> None:
    """Of a size that the index alone claims, no memory is allocated."""
    data = json.dumps({"parts": [{"text": "a"}], "metadata": "{}"}).encode()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/0.tar").write_bytes(data)
    places: list[dict[str, Any]] = [
        {"ending": "json", "offset": offset, "size": size}
        for offset, size in ((0, len(data)), (0, 1 << 50), (-1, 1), (len(data), 1), (0, -1))
    ]
    members = [[place] for place in places] + [[], [{"ending": "json", "offset": None, "size": None}]]
    index = pa.table({"key": ["k"] * 7, "kind": ["text"] * 7, "members": members})
    file = OutputFile(path="data/0.tar", rows=7, size=len(data), sha256="")
    counter = PartTokenCounter(cast(Any, None), SourceTextOptions(), 0)
    found = list(_read_tar_parts(counter, SourceShard(Folder(str(tmp_path)), file, file), index))
    assert found == [["a"], *[UNREADABLE] * 6]


RULE = SourceTextOptions(granularities=[1])
CAPTIONS = json.dumps([{"text": "chosen", "granularity": 1, "include_datacomp_raw_cap": False}])


@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_tokens_of_each_part_are_counted(tmp_path: Path, form: Literal["webdataset", "parquet"]) -> None:
    """The tokenizer has one token for each letter. An image has none, and an empty caption no entry."""
    words = tokenizer(tmp_path)[0]
    captions = [captioned(0, "five."), captioned(1, ""), captioned(2, "stored", captions=CAPTIONS)]
    pictures = open_source("pictures", [write_set(tmp_path / "pictures", captions, words, form)])
    texts = open_source("texts", [write_set(tmp_path / "texts", [document(3, ["one", (48, 64), "four"])], words, form)])

    def count(source: SourceSet, rule: SourceTextOptions) -> list[Any]:
        [shard], [index] = source.shards, read_indexes(source)
        return PartTokenCounter(words, rule, 0).count(shard, index.select(["key", "kind", "members"]))

    assert count(pictures, SourceTextOptions()) == [[None, 5], [None], [None, 6]]
    assert count(pictures, RULE) == [NO_CAPTION, NO_CAPTION, [None, 6]]
    assert count(texts, SourceTextOptions()) == [[3, None, 4]]


def test_a_shard_of_parquet_that_differs_from_its_index(tmp_path: Path) -> None:
    words = tokenizer(tmp_path)[0]
    source = open_source("name", [write_set(tmp_path / "set", [captioned(0, "one")], words, "parquet")])
    [shard], [index] = source.shards, read_indexes(source)
    counter = PartTokenCounter(words, SourceTextOptions(), 0)
    with pytest.raises(ShardloomError, match=rf"^{shard.path} does not match its index: verify the set$"):
        counter.count(shard, pa.concat_tables([index] * 2))
    Folder(str(tmp_path)).write("data/0.parquet", b"PAR1")
    file = OutputFile(path="data/0.parquet", rows=1, size=4, sha256="")
    with pytest.raises(ShardloomError, match=rf"^cannot read {tmp_path}/data/0.parquet: "):
        counter.count(SourceShard(Folder(str(tmp_path)), file, file), pa.table({"key": ["k"]}))


def test_captions_are_chosen_by_the_index_key_and_the_alt_text_is_kept_apart() -> None:
    counter = PartTokenCounter(cast(Any, None), SourceTextOptions(strip_filler=True), 0)
    found = counter.build_caption_parts("k", 'the text "A" and the text "B"', {"alt_text": None, "captions": None})
    assert found == [None, strip_filler('the text "A" and the text "B"', "")]
    quoted = {"alt_text": 'the text "A"'}
    assert counter.build_caption_parts("k", 'the text "A". the text "B"', quoted) == [
        None,
        strip_filler('the text "A". the text "B"', 'the text "A"'),
    ]
    several = [{"text": f"{number}", "granularity": 0} for number in range(64)]
    choosing = [PartTokenCounter(cast(Any, None), SourceTextOptions(granularities=[0]), seed) for seed in (0, 1)]
    details = {"captions": json.dumps(several)}
    for key in ("a", "b", "c", "d"):
        chosen = [one.build_caption_parts(key, "", details) for one in choosing]
        assert chosen == [
            [None, select_caption(key, "", "", details["captions"], one.rule, one.seed)] for one in choosing
        ]
