"""Encrypted columns are found in a footer, however it is written."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.storage.parquet_footer import find_encrypted_columns, read_footer


def field(delta: int, kind: int) -> bytes:
    return bytes([delta << 4 | kind])


def text(value: bytes) -> bytes:
    return bytes([len(value)]) + value


def footer(crypto: bytes) -> bytes:
    """A footer of one row group of one column, `a.b`, with these bytes in the place of its `crypto_metadata`."""
    path = b"\x28" + text(b"a") + text(b"b")  # a list of two strings
    metadata = field(3, 9) + path + b"\0"
    column = field(2, 6) + b"\x08" + field(1, 12) + metadata + crypto + b"\0"
    group = field(1, 9) + b"\x1c" + column + b"\0"
    return field(1, 5) + b"\x04" + field(3, 9) + b"\x1c" + group + b"\0"


COLUMN_KEY = field(5, 12) + field(2, 12) + field(1, 9) + b"\x18" + text(b"secret") + b"\0" + b"\0"
FOOTER_KEY = field(5, 12) + field(1, 12) + b"\0" + b"\0"


@pytest.mark.parametrize(("crypto", "names"), [(b"", []), (COLUMN_KEY, ["secret"]), (FOOTER_KEY, ["a.b"])])
@pytest.mark.parametrize("signature", [0, 28])
def test_columns_are_named(crypto: bytes, names: list[str], signature: int) -> None:
    """With a signature behind the footer, as encryption puts it there, or without, as a forger may."""
    found = footer(crypto)
    assert find_encrypted_columns(found + b"\x7f" * signature, len(found)) == names


@pytest.mark.parametrize("end", range(20, 30))
def test_a_footer_that_is_cut(end: int) -> None:
    with pytest.raises(ValueError, match=r"^(its footer is truncated|a number of over 64 bits)$"):
        find_encrypted_columns(footer(COLUMN_KEY)[:end], 0)


def test_values_within_values_without_end() -> None:
    with pytest.raises(ValueError, match="values are nested too deeply"):
        find_encrypted_columns(field(1, 12) * 10_000, 0)


def test_footers_of_ordinary_files() -> None:
    columns = {f"column {number}": [f"\x2c\x19{number}"] * 9 for number in range(60)}
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, row_group_size=2)
    found = read_footer(file)
    assert found is not None
    assert pq.ParquetFile(file).metadata.serialized_size == len(found)
    assert find_encrypted_columns(found, len(found)) == []
    assert read_footer(io.BytesIO(b"PAR1")) is None
