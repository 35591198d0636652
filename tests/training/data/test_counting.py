"""Texts are read where the index says, if that is inside the shard."""

import json
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from curation.mixture.sources import SourceShard
from schemas.output_set.manifest import OutputFile
from schemas.storage.folder import Folder
from training.data.counting import UNREADABLE, PartTokenCounter, _read_tar_parts
from training.data.options import SourceTextOptions


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
