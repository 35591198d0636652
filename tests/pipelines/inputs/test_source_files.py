"""Every row of a file is in one unit, none in two; a unit holds no more than was asked; its bytes and hash are told."""

import datetime
import gzip
import hashlib
import io
import itertools
import json
import random
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.sources import SOURCES, ReadOptions
from pipelines.inputs.parquet_rows import read_rows
from pipelines.inputs.shards import find_missing_downloads
from pipelines.inputs.source_files import (
    Item,
    RowRange,
    RowRangeSummary,
    cut_file,
    iterate_items,
    list_source_files,
    read_row_range,
)
from pipelines.inputs.summarised_iterator import SummarisedIterator
from schemas.errors import ShardloomError, UsageError
from schemas.records.document import ParsedDocument
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.folder import Folder
from tests.schemas.support.tars import files, tar_of

TEXT = SOURCES.find("text")


def read(stretch: RowRange) -> tuple[RowRangeSummary, list[Item]]:
    rows = SummarisedIterator(read_row_range(TEXT, stretch))
    items = list(rows)
    assert [item.key for item in iterate_items(TEXT, stretch)] == [item.key for item in items]
    return rows.summary, items


def parquet(path: Path, groups: list[int]) -> str:
    """Rows numbered from 0, in row groups of these lengths."""
    rows = iter(range(sum(groups)))
    schema = pa.schema([("text", pa.string()), ("other", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for length in groups:
            writer.write_table(pa.Table.from_pylist([{"text": str(next(rows))} for _ in range(length)], schema=schema))
    return str(path)


@pytest.mark.parametrize(
    ("groups", "most", "expected"),
    [
        ([5], 10, [(0, 5)]),
        ([4, 4, 4], 8, [(0, 8), (8, 12)]),
        ([4, 4, 4], 9, [(0, 8), (8, 12)]),
        ([4, 4, 4], 3, [(0, 3), (3, 4), (4, 7), (7, 8), (8, 11), (11, 12)]),
        ([2, 9, 2, 1], 4, [(0, 2), (2, 6), (6, 10), (10, 11), (11, 14)]),
        ([0, 3, 0], 4, [(0, 3)]),
        ([], 4, []),
    ],
)
def test_parquet_is_cut_at_row_groups(
    tmp_path: Path, groups: list[int], most: int, expected: list[tuple[int, int]]
) -> None:
    path = parquet(tmp_path / "a.parquet", groups)
    found = cut_file(TEXT, most, path)
    assert [(stretch.start, stretch.stop) for stretch in found] == expected
    rows = [item for stretch in found for item in read(stretch)[1]]
    assert rows == [Item(str(row), {"text": str(row)}) for row in range(sum(groups))]


class Counted(io.FileIO):
    """A file that counts what is read of it."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def test_of_a_local_row_group_only_pages_are_held(tmp_path: Path) -> None:
    """It may have gigabytes of images. A store would be asked for page by page, so there it is read at once."""
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [random.Random(row).randbytes(1 << 16).hex() for row in range(256)]})
    pq.write_table(table, path, compression="none", use_dictionary=False, data_page_size=1 << 17, write_batch_size=1)
    shares = []
    for is_local in (True, False):
        with Counted(path) as file:
            next(read_rows(cast(BinaryIO, file), TEXT, str(path), 0, 256, is_local))
            shares.append(file.count / path.stat().st_size)
    assert shares[0] < 0.5 < 1 <= shares[1]


def test_an_input_is_told_by_what_was_read_of_it(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", [70, 70, 70])
    data = Path(path).read_bytes()
    (whole,) = cut_file(TEXT, 1000, path)
    assert read(whole)[0].input.model_dump() == {
        "path": path,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    first, second, third = cut_file(TEXT, 70, path)
    found = [read(stretch)[0].input for stretch in (first, second, third)]
    assert [file.path for file in found] == [f"{path}#rows={start}-{start + 70}" for start in (0, 70, 140)]
    assert (first.start_byte, first.stop_byte, second.stop_byte) == (4, second.start_byte, third.start_byte)
    for stretch, file in zip((first, second, third), found, strict=True):
        assert file.size == stretch.stop_byte - stretch.start_byte
        assert file.sha256 == hashlib.sha256(data[stretch.start_byte : stretch.stop_byte]).hexdigest()


@given(
    lines=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=30), max_size=30),
    most=st.integers(1, 12),
    ends=st.booleans(),
)
def test_lines_are_in_one_unit_each(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], most: int, ends: bool
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    path.write_bytes("\n".join(lines).encode() + (b"\n" if ends else b""))
    found = cut_file(TEXT, most, str(path))
    items = [item for stretch in found for item in read(stretch)[1]]
    expected = [line for line in path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    assert [item.content.rstrip("\n").encode() for item in items] == expected
    assert [item.key for item in items] == [str(row) for row in range(len(expected))]
    assert all(stretch.stop - stretch.start == most for stretch in found[:-1] if stretch.stop is not None)
    if found:
        assert (found[0].start_byte, found[-1].stop_byte) == (0, path.stat().st_size)
        assert all(one.stop_byte == after.start_byte for one, after in itertools.pairwise(found))


def test_lists_are_cut_by_items(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"id": number} for number in range(7)]))
    reader = SOURCES.find("visual-genome")
    found = cut_file(reader, 3, str(path))
    assert [(stretch.start, stretch.stop) for stretch in found] == [(0, 3), (3, 6), (6, 7)]
    items = [item.content["id"] for stretch in found for item in iterate_items(reader, stretch)]
    assert items == list(range(7))
    path.write_text(path.read_text()[:-5])
    with pytest.raises(UsageError, match=rf"{path}: "):
        cut_file(reader, 3, str(path))


def latin(*values: bytes | None) -> pa.Array:
    """A column of strings as some writers leave them: not all are UTF-8."""
    return pa.array(values, pa.binary()).view(pa.string())


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (latin(b"caf\xe9", None), b"caf\xe9"),
        (pa.array([b"caf\xe9", None], pa.large_binary()).view(pa.large_string()), b"caf\xe9"),
        (pa.ListArray.from_arrays([0, 2, 2], latin(b"a", b"caf\xe9")), ["a", b"caf\xe9"]),
        (
            pa.StructArray.from_arrays([latin(b"\xe9", b"a"), pa.array([b"\xff", b"b"])], ["text", "bytes"]),
            {"text": b"\xe9", "bytes": b"\xff"},
        ),
        (pa.MapArray.from_arrays([0, 1, 1], latin(b"\xe9"), latin(b"a")), [(b"\xe9", "a")]),
    ],
)
def test_a_string_that_is_no_text_costs_no_row(tmp_path: Path, column: pa.Array, found: object) -> None:
    """The reader gets its bytes, however deep it is, and judges them as those of a column of bytes."""
    table = pa.table({"url": ["http://u"] * 2, "caption": ["one", "two"], "note": column})
    pq.write_table(table, tmp_path / "a.parquet")
    kale = SOURCES.find("kale")
    (stretch,) = cut_file(kale, 10, str(tmp_path / "a.parquet"))
    first, second = (item.content for item in iterate_items(kale, stretch))
    assert first == {"url": "http://u", "caption": "one", "note": found}
    assert second["caption"] == "two"
    assert kale.read(first, ReadOptions()).metadata.startswith('{"note": ')


CAPTIONS = {"url": "http://u", "captions": "[('a cat', 0, False)]"}
PAGE: dict[str, Any] = {"texts": ["a", None], "images": [None, "http://u"]}


@pytest.mark.parametrize("column", [pa.string(), pa.binary()])
@pytest.mark.parametrize(
    ("source", "row", "name"),
    [
        ("kale", {"url": "http://u", "caption": "a"}, "uid"),
        ("obelics", PAGE | {"metadata": '[null, {"src": "http://u"}]'}, "general_metadata"),
        ("obelics", PAGE, "metadata"),
        ("mint-html", PAGE, "url"),
        ("mint-html", PAGE, "metadata"),
        ("mint-html", PAGE, "images_metadata"),
        ("mint-html", PAGE, "cc_dump"),
        ("blip3-grounding", CAPTIONS, "metadata"),
        ("blip3-grounding", CAPTIONS, "uid"),
        ("text", {"text": "a"}, "url"),
        ("text", {"text": "a"}, "id"),
    ],
)
def test_what_is_said_about_a_row_need_not_be_text(
    tmp_path: Path, source: str, row: dict[str, Any], name: str, column: pa.DataType
) -> None:
    table = pa.Table.from_pylist([row]).append_column(name, pa.array([b"caf\xe9"]).view(column))
    pq.write_table(table, tmp_path / "a.parquet")
    reader = SOURCES.find(source)
    (stretch,) = cut_file(reader, 10, str(tmp_path / "a.parquet"))
    (item,) = iterate_items(reader, stretch)
    found, plain = (reader.read(each, ReadOptions()) for each in (item.content, row))
    same = ("text",) if reader.is_captions else ("parts", "images")
    assert [getattr(found, each) for each in same] == [getattr(plain, each) for each in same]


@pytest.mark.parametrize("column", [pa.string(), pa.binary()])
def test_text_to_train_on_must_be_text_in_strings_and_bytes_alike(tmp_path: Path, column: pa.DataType) -> None:
    odd = pa.array([b"caf\xe9"]).view(column)
    list_of_odd = pa.ListArray.from_arrays([0, 1], odd)
    for source, columns in (
        ("kale", {"url": ["http://u"], "caption": odd}),
        ("text", {"text": odd}),
        ("obelics", {"texts": list_of_odd, "images": [[None]]}),
        ("blip3-grounding", {"url": ["http://u"], "captions": odd}),
    ):
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        reader = SOURCES.find(source)
        (stretch,) = cut_file(reader, 10, str(tmp_path / "a.parquet"))
        (item,) = iterate_items(reader, stretch)
        with pytest.raises(Rejected) as fault:
            reader.read(item.content, ReadOptions())
        assert fault.value.reason == Reason.NOT_TEXT


def test_a_line_that_is_no_text_is_judged_by_its_fields(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"caf\xe9\thttp://u\na cat\thttp://caf\xe9\nb\thttp://u\n")
    cc3m = SOURCES.find("cc3m")
    (stretch,) = cut_file(cc3m, 10, str(tmp_path / "a.tsv"))
    first, second, third = (item.content for item in iterate_items(cc3m, stretch))
    with pytest.raises(Rejected, match=r"^not_text: the caption: a byte that is not UTF-8 \(0xe9\) at character 3$"):
        cc3m.read(first, ReadOptions())
    assert cc3m.read(second, ReadOptions()).url == "http://caf?"  # a store has no such image
    assert third == "b\thttp://u\n"
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "caf\xe9"}\n{"text": "a", "url": "caf\xe9", "id": "\xe9"}\n')
    (stretch,) = cut_file(TEXT, 10, str(tmp_path / "a.jsonl"))
    first, second = (item.content for item in iterate_items(TEXT, stretch))
    with pytest.raises(Rejected, match=r"^not_text: text: a byte that is not UTF-8 \(0xe9\) at character 3$"):
        TEXT.read(first, ReadOptions())
    document = cast(ParsedDocument, TEXT.read(second, ReadOptions()))
    assert (document.parts, document.uid, document.url) == (("a",), "?", "caf?")


def test_times_are_read_as_text_and_cost_no_row(tmp_path: Path) -> None:
    """Years of six digits and zones that nobody knows are nothing for Python; nested or not."""
    far = pa.array([1, 2**50, None])
    zoned = far.cast(pa.timestamp("ms", "Mars/Base"))
    columns = {
        "url": pa.array(["http://u"] * 3),
        "caption": pa.array(["c"] * 3),
        "seen": zoned,
        "day": pa.array([1, 2**31 - 1, None], pa.int32()).view(pa.date32()),
        "exact": pa.array([1, 2, None]).cast(pa.timestamp("ns")),
        "each": pa.ListArray.from_arrays([0, 2, 2, 3], zoned),
        "about": pa.StructArray.from_arrays([zoned, far], ["at", "n"]),
        "by_name": pa.MapArray.from_arrays([0, 1, 2, 3], ["a", "b", "c"], zoned),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    kale = SOURCES.find("kale")
    (stretch,) = cut_file(kale, 10, str(tmp_path / "a.parquet"))
    first, second, third = (item.content for item in iterate_items(kale, stretch))
    at, later = "1970-01-01 00:00:00.001", f"<value out of range: {2**50}>"
    fixed = {"url": "http://u", "caption": "c"}
    assert first == fixed | {
        "seen": at,
        "day": "1970-01-02",
        "exact": "1970-01-01 00:00:00.000000001",
        "each": [at, later],
        "about": {"at": at, "n": 1},
        "by_name": [("a", at)],
    }
    assert (second["seen"], second["about"]) == (later, {"at": later, "n": 2**50})
    assert (third["seen"], third["each"], third["by_name"]) == (None, [None], [("c", None)])
    json.loads(kale.read(first, ReadOptions()).metadata)


def test_what_cannot_be_read_costs_no_neighbour(tmp_path: Path) -> None:
    """Lists of a fixed length, which no set has, are taken as Arrow gives them."""
    days = pa.array([1, 2**31 - 1], pa.int32()).view(pa.date32())
    pq.write_table(pa.table({"text": pa.FixedSizeListArray.from_arrays(days, 1)}), tmp_path / "a.parquet")
    (stretch,) = cut_file(TEXT, 10, str(tmp_path / "a.parquet"))
    first, second = (item.content for item in read(stretch)[1])
    assert first == {"text": [datetime.date(1970, 1, 2)]}
    assert second == Rejected(
        Reason.MALFORMED_ROW, "a value that cannot be read: days=2147483647; must have magnitude <= 999999999"
    )


def test_a_broken_page_is_told_with_its_file(tmp_path: Path) -> None:
    path = Path(parquet(tmp_path / "a.parquet", [1000]))
    data = bytearray(path.read_bytes())
    (stretch,) = cut_file(TEXT, 1000, str(path))
    data[4:200] = bytes(196)
    path.write_bytes(data)
    with pytest.raises(ShardloomError, match=r"cannot read .*a\.parquet: "):
        read(stretch)


def test_a_file_that_has_shrunk_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("{}\n" * 5)
    (stretch,) = cut_file(TEXT, 10, str(path))
    path.write_text("{}\n" * 4)
    with pytest.raises(ShardloomError, match=r"a\.jsonl has become shorter since the run began"):
        read(stretch)


@pytest.mark.parametrize("start", [0, 2])
def test_a_file_with_more_rows_than_planned_is_found(tmp_path: Path, start: int) -> None:
    """Of the same size, so that no byte is missed: a row that was too many would be lost without a trace."""
    path = tmp_path / "a.jsonl"
    path.write_text("{     }\n" * 4)
    stretch = cut_file(TEXT, 2, str(path))[start // 2]
    assert (stretch.start, stretch.stop) == (start, start + 2)
    path.write_text("{}\n{}  \n" * 4)
    with pytest.raises(ShardloomError, match=r"a\.jsonl has more rows than when the run began: rerun the command"):
        read(stretch)


def test_only_files_of_the_set_are_taken(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.parquet", "c.txt"):
        (tmp_path / name).touch()
    found = list_source_files([f"{tmp_path}/*l", f"{tmp_path}/*.parquet", f"{tmp_path}/b*"], "text", TEXT)
    assert found == [f"{tmp_path}/a.parquet", f"{tmp_path}/b.jsonl"]
    with pytest.raises(
        UsageError, match=r"c\.txt is not a \.jsonl or \.parquet file: the glob should match only files of"
    ):
        list_source_files([f"{tmp_path}/*"], "text", TEXT)


@pytest.mark.parametrize(("name", "kind"), [("a.jsonl.gz", "gzip"), ("a.jsonl.zst", "zstd"), ("a.parquet.xz", "xz")])
def test_compressed_files_are_told_by_their_names(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UsageError, match=rf"{name} is compressed by {kind}, which is not read: decompress it first"):
        list_source_files([f"{tmp_path}/a*"], "text", TEXT)


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_compressed_files_are_told_by_their_bytes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b'{"text": "a"}' * 99))
    with pytest.raises(UsageError, match=rf"{name} is compressed by gzip, which is not read: decompress it first"):
        cut_file(TEXT, 10, str(tmp_path / name))


def test_hidden_files_of_a_tar_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of(*files("1")[:2], ("._1.txt", b"Mac"), *files("1")[2:], *files("2")))
    reader = SOURCES.find("datacomp")
    (stretch,) = cut_file(reader, 10, str(tmp_path / "a.tar"))
    items = SummarisedIterator(read_row_range(reader, stretch))
    assert [item.key for item in items] == ["1", "2"]
    assert (items.summary.hidden_files, items.summary.damage) == (1, [])


def test_a_side_file_that_pandas_has_rewritten_tells_of_no_loss(tmp_path: Path) -> None:
    """It makes numbers of keys, which then lack their zeros; a row that is missing is missing all the same."""
    folder = Folder(str(tmp_path))
    keys = ["000000000", "000000017"]
    for column in (pa.array([0, 17]), pa.array([0.0, 17.0]), pa.array(keys)):
        pq.write_table(pa.table({"key": column, "status": ["success"] * 2}), tmp_path / "a.parquet")
        assert (
            find_missing_downloads(folder, "a", keys)
            == find_missing_downloads(folder, "a", [f"./{key}" for key in keys])
            == []
        )
        plain = ["0", "17"]
        assert (find_missing_downloads(folder, "a", plain) == []) == (column.type != pa.string())
        told = "1 samples that a.parquet lists are not in the tar: 000000017"
        assert find_missing_downloads(folder, "a", keys[:1]) == [told]


@pytest.mark.parametrize("kind", [int, float, str])
def test_a_side_file_of_numbers_names_keys_without_zeros(tmp_path: Path, kind: type) -> None:
    """Home-made tars number their samples from 0, without leading zeros."""
    folder = Folder(str(tmp_path))
    keys = [str(number) for number in range(12)]
    listed = {"key": [kind(key) for key in keys], "status": ["success"] * 12}
    pq.write_table(pa.table(listed), tmp_path / "a.parquet")
    assert find_missing_downloads(folder, "a", keys) == []
    told = "1 samples that a.parquet lists are not in the tar: 11"
    assert find_missing_downloads(folder, "a", keys[:11]) == [told]
