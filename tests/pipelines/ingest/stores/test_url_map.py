"""A map of URLs to files that cannot be read says why."""

from pathlib import Path

import pytest

from pipelines.ingest.stores.url_map import MapStore
from schemas.errors import UsageError


def test_a_compressed_map_is_named(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_bytes(b"\x1f\x8b" + bytes(50))
    with pytest.raises(UsageError, match=r"map\.json is compressed by gzip, which is not read: decompress it first"):
        MapStore(str(tmp_path / "map.json"))
