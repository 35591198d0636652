"""Parquet files with encrypted columns, as Arrow writes them."""

import base64
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe


class _Keys(pe.KmsClient):  # type: ignore[misc]  # Arrow has no types
    """Wraps keys by writing them out."""

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        return base64.b64decode(wrapped_key)


def write_encrypted(path: Path, table: pa.Table, columns: list[str], plain_footer: bool = True) -> None:
    """Writes a table of which these columns are encrypted, and the footer if it is not to be plain."""
    factory = pe.CryptoFactory(lambda _: _Keys())
    encryption = pe.EncryptionConfiguration("footer", column_keys={"key": columns}, plaintext_footer=plain_footer)
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), encryption)
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
