"""Parquet files are read by decompressed bytes; what is encrypted or expands over the budget is refused by name."""

import io
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.storage import parquet
from schemas.storage.parquet import (
    UnreadableParquet,
    check_sizes,
    iterate_batches,
    open_parquet,
    read_group,
    read_table,
)
from tests.schemas.support.encrypted import write_encrypted

MIB = 1 << 20
BUDGETS = {"BATCH_BYTES": 4 * MIB, "ROW_BYTES": 8 * MIB, "EXPANDED_BYTES": 16 * MIB}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Budgets of a few megabytes."""
    for name, value in BUDGETS.items():
        monkeypatch.setattr(parquet, name, value)


def written(columns: dict[str, Any], **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, compression="zstd", **options)
    return file


def repeated(value: str, lengths: list[int]) -> pa.Array:
    """Lists of one string, which stands once in memory as well."""
    offsets = pa.array([0, *(sum(lengths[: end + 1]) for end in range(len(lengths)))], pa.int32())
    values = pa.DictionaryArray.from_arrays(pa.array([0] * sum(lengths), pa.int32()), pa.array([value]))
    return pa.ListArray.from_arrays(offsets, values)


@pytest.mark.usefixtures("small")
def test_a_string_that_repeats_is_read_a_few_rows_at_a_time() -> None:
    """48 rows of a megabyte each in a file of a few hundred bytes: as many rows as fit into the budget."""
    file = written({"text": ["x" * MIB] * 48})
    assert len(file.getvalue()) < 2000
    found = list(iterate_batches(open_parquet(file, "a.parquet"), 64))
    assert [batch.num_rows for batch in found] == [1, 2, *[3] * 15]
    assert max(batch.nbytes for batch in found) < BUDGETS["BATCH_BYTES"]
    assert sum(len(text) for batch in found for text in batch["text"].to_pylist()) == 48 * MIB


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_other_encodings_are_read_by_bytes_as_well(encoding: str) -> None:
    texts = [f"{number:04d}" + "x" * MIB for number in range(12)]
    file = written({"text": texts}, use_dictionary=False, column_encoding=encoding)
    found = list(iterate_batches(open_parquet(file, "a.parquet"), 64))
    assert max(batch.nbytes for batch in found) <= BUDGETS["BATCH_BYTES"]
    assert [text for batch in found for text in batch["text"].to_pylist()] == texts


@pytest.mark.usefixtures("small")
def test_small_row_groups_are_read_together() -> None:
    """As they always were, so that ordinary files cost what they did."""
    file = written({"number": range(1000), "text": [str(number) for number in range(1000)]}, row_group_size=10)
    assert [batch.num_rows for batch in iterate_batches(open_parquet(file, "a"), 64)] == [*[64] * 15, 40]
    large = written({"text": [f"{number} " * 20 for number in range(200)]}, row_group_size=10)
    assert sum(batch.num_rows for batch in iterate_batches(open_parquet(large, "a"), 64)) == 200


@pytest.mark.usefixtures("small")
def test_row_groups_of_few_large_rows_are_not_read_together() -> None:
    file = written({"text": ["x" * 3 * MIB] * 8}, row_group_size=1)
    assert [batch.num_rows for batch in iterate_batches(open_parquet(file, "a"), 64)] == [1] * 8


@pytest.mark.usefixtures("small")
def test_what_expands_over_the_budget_is_refused_by_name() -> None:
    zeros = written({"id": [1] * 20, "text": ["0" * MIB] * 20}, use_dictionary=False)
    with pytest.raises(UnreadableParquet) as error:
        check_sizes(open_parquet(zeros, "a.parquet"))
    told = r"a\.parquet: column text of row group 0 expands from [\d,]+ to 20,97\d,\d{3} bytes, more than the 16 MiB .*"
    assert re.fullmatch(told, str(error.value))
    check_sizes(open_parquet(zeros, "a.parquet"), ["id"])  # which alone is read
    with pytest.raises(UnreadableParquet, match="column text of row group 0 expands"):
        read_table(zeros, path="a.parquet")


@pytest.mark.usefixtures("small")
def test_a_value_over_the_budget_is_refused_by_name() -> None:
    file = written({"text": ["x" * 9 * MIB] * 3})
    with pytest.raises(UnreadableParquet) as error:
        list(iterate_batches(open_parquet(file, "a.parquet")))
    told = "a.parquet: column text of row group 0 has a value of 9,437,184 bytes, more than the 8 MiB that are allowed"
    assert str(error.value) == told


@pytest.mark.usefixtures("small")
def test_a_row_of_many_large_values_is_refused_before_it_is_written_out() -> None:
    """One list that names a string of a megabyte twenty times; the same list five times is read."""
    with pytest.raises(
        UnreadableParquet, match=r"column texts\.list\.element of row group 0 has a row of 20,971,520 b"
    ):
        list(iterate_batches(open_parquet(written({"texts": repeated("x" * MIB, [1, 2, 20])}), "a")))
    found = list(iterate_batches(open_parquet(written({"texts": repeated("x" * MIB, [5, 1, 5])}), "a"), 64))
    assert [len(row) for batch in found for row in batch["texts"].to_pylist()] == [5, 1, 5]
    assert max(batch.nbytes for batch in found) < BUDGETS["ROW_BYTES"]


@pytest.mark.usefixtures("small")
def test_a_table_over_its_budget_is_refused() -> None:
    file = written({"text": ["x" * MIB] * 48, "id": range(48)})
    with pytest.raises(UnreadableParquet) as error:
        read_table(file, path="a.parquet", max_bytes=20 * MIB)
    assert str(error.value) == "a.parquet: its rows take more memory, more than the 20 MiB that are allowed"
    assert read_table(file, ["id"], max_bytes=MIB)["id"].to_pylist() == list(range(48))
    assert read_table(file, max_bytes=100 * MIB).num_rows == 48
    assert read_group(open_parquet(file, "a"), 0).num_rows == 48


@pytest.mark.usefixtures("small")
def test_a_table_of_exactly_its_budget_is_read() -> None:
    """The texts repeat, so that their bound from the footer is over the budget and only their batches can tell."""
    file = written({"text": ["x" * (MIB // 4)] * 48})
    taken = sum(batch.nbytes for batch in iterate_batches(open_parquet(file, "a")))
    assert read_table(file, max_bytes=taken).num_rows == 48
    with pytest.raises(UnreadableParquet, match="its rows take more memory"):
        read_table(file, max_bytes=taken - 1)


def test_numbers_in_no_bytes_are_counted() -> None:
    """Ten million zeros take a few hundred bytes in a file, and 80 MB in memory."""
    column = pa.repeat(pa.scalar(0, pa.int64()), 10_000_000)
    file = written({"offset": column}, row_group_size=10_000_000)
    assert len(file.getvalue()) < 50_000
    with pytest.raises(UnreadableParquet, match="its rows take more memory, more than the 32 MiB"):
        read_table(file, path="a", max_bytes=32 * MIB)


MEASURED = """
import resource, sys
from pathlib import Path
from schemas.storage.parquet import iterate_batches, open_parquet

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = 0
for batch in iterate_batches(open_parquet(Path(sys.argv[1]), "it"), 64):
    rows += batch.num_rows
print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_what_a_reader_takes_of_memory(tmp_path: Path) -> None:
    """Forty rows of one string of 40 MB, 1.6 GB in all: two batches of 128 MiB and a page at once."""
    (tmp_path / "a.parquet").write_bytes(written({"text": repeated("x" * 40_000_000, [40]).flatten()}).getvalue())
    script = [sys.executable, "-c", MEASURED, str(tmp_path / "a.parquet")]
    rows, taken = map(int, subprocess.run(script, capture_output=True, text=True, check=True).stdout.split())
    assert rows == 40
    assert taken < 700, f"{taken} MiB"


def test_encrypted_columns_are_named_before_any_is_touched(data: Path) -> None:
    """Arrow ends the process when it is asked for the metadata of such a column."""
    path = data / "corpora/encrypt_columns_plaintext_footer.parquet.encrypted"
    line = "a.parquet is encrypted (columns float_field, double_field): decrypt it first"
    for source in (path, io.BytesIO(path.read_bytes())):
        with pytest.raises(UnreadableParquet) as error:
            open_parquet(source, "a.parquet")
        assert str(error.value) == line
    with pytest.raises(UnreadableParquet):
        read_table(io.BytesIO(path.read_bytes()), ["boolean_field"])


@pytest.mark.parametrize("plain_footer", [True, False])
def test_a_file_encrypted_by_arrow_is_named(tmp_path: Path, plain_footer: bool) -> None:
    table = pa.table({"id": [1, 2], "text": ["a", "b"], "nested": [{"a": 1}, {"a": 2}]})
    write_encrypted(tmp_path / "a.parquet", table, ["text", "nested.a"], plain_footer)
    what = "columns text, nested.a" if plain_footer else "its footer"
    with pytest.raises(UnreadableParquet) as error:
        open_parquet(tmp_path / "a.parquet", "a.parquet")
    assert str(error.value) == f"a.parquet is encrypted ({what}): decrypt it first"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1\0\0\0\0PAR1", b"PAR1" + b"\xff" * 40 + b"PAR1", b"no" * 50])
def test_what_is_no_parquet_is_named(content: bytes) -> None:
    with pytest.raises(UnreadableParquet, match=r"^a\.parquet is not a Parquet file: \w"):
        open_parquet(io.BytesIO(content), "a.parquet")


def test_a_file_is_opened_as_arrow_opens_it(tmp_path: Path) -> None:
    """Its types and metadata too, which the footer's own copy must have kept."""
    schema = pa.schema([pa.field("id", pa.uuid()), pa.field("text", pa.large_string())], {b"a": b"b"})
    table = pa.table([pa.array([uuid.uuid4().bytes], pa.uuid()), pa.array(["x"], pa.large_string())], schema=schema)
    pq.write_table(table, tmp_path / "a.parquet")
    for source in (tmp_path / "a.parquet", io.BytesIO((tmp_path / "a.parquet").read_bytes())):
        opened = open_parquet(source, "a")
        assert (opened.schema, opened.schema.metadata, opened.rows) == (schema, {b"a": b"b"}, 1)
        assert read_table(source).equals(table)


def test_a_footer_longer_than_its_tail(tmp_path: Path) -> None:
    table = pa.table({"a": [1]}).replace_schema_metadata({"long": "x" * 300_000})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").schema.metadata == {b"long": b"x" * 300_000}
