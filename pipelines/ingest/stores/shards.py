"""Reads images from img2dataset shards by their URLs.

A table of URLs is built once per run and stays in the output's `parts/` until the run completes: 32 bytes an image,
sorted by a hash of the URL (BLAKE2b, 128 bits), memory-mapped and shared by all workers of a machine.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.cluster.runner import Runner
from pipelines.inputs.shards import InputShard
from schemas.layouts.datacomp import read_image
from schemas.output_set.layout import PARTS
from schemas.output_set.manifest import InputFile
from schemas.records.quarantine import Rejected
from schemas.storage.folder import Folder, split_path
from schemas.tar.reader import TarReader

SHOWN_DAMAGE = 10  # entries of one tar: manifests and workers get them

_TABLE = f"{PARTS}/images.arrow"
_ROW = np.dtype([("high", "<u8"), ("low", "<u8"), ("offset", "<i8"), ("size", "<u4"), ("tar", "<u4")])


class ShardStore:
    """Finds images of img2dataset shards by the URLs in their .json members; an `ImageStore`."""

    def __init__(self, tars: list[InputShard]) -> None:
        self.damage: list[str] = []
        self._tars = tars
        state = [[tar.path, tar.get_size()] for tar in tars]
        self.revision = InputFile(
            path=f"{len(tars)} tars from {tars[0].path}",
            size=sum(tar.get_size() for tar in tars),
            sha256=hashlib.sha256(json.dumps(state).encode()).hexdigest(),
        )
        self._folder: Folder | None = None  # the one that holds the table
        self._table: _Table | None = None  # opened by each process at its first `get`

    def prepare(self, output: Folder, runner: Runner) -> None:
        """Builds the table, which reads all shards once, unless an interrupted run left it."""
        self._folder = output
        if output.exists(_TABLE) and (table := _Table(output)).revision == self.revision:
            self.damage = table.damage
            return
        order = {tar.path: number for number, tar in enumerate(self._tars)}
        found = sorted(runner.map(index_tar, self._tars), key=lambda each: order[each[0]])
        rows = np.concatenate([_set_tar_number(rows, order[path]) for path, rows, _ in found])
        self.damage = [line for *_, damage in found for line in damage]
        rows = rows[np.lexsort((rows["low"], rows["high"]))]  # stable: the first of one URL stays the first
        _write_table(output, rows, {"revision": self.revision.model_dump(), "tars": list(order), "damage": self.damage})

    def get(self, address: str) -> bytes | None:
        """See `ImageStore`."""
        if self._table is None:
            assert self._folder is not None, "prepare was not called"
            self._table = _Table(self._folder)
        return self._table.get(address)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_table": None, "_tars": []}  # the table holds the paths of the tars too


class _Table:
    """Holds the opened table: rows of `_ROW` sorted by the hash of the URL, and the paths of the tars."""

    def __init__(self, output: Folder) -> None:
        name = _TABLE
        source = (
            pa.memory_map(str(output.get_local_path(name))) if output.is_local else pa.BufferReader(output.read(name))
        )
        table = pa.ipc.open_file(source).read_all()
        told = json.loads(table.schema.metadata[b"images"])
        self.revision = InputFile(**told["revision"])
        self.damage: list[str] = told.get("damage", [])
        self._tars: list[str] = told["tars"]
        self._opened_tars: dict[int, tuple[Folder, str]] = {}  # folder and name of each tar; to resolve a path is slow
        self._columns = {
            column: table[column].chunk(0).to_numpy() if table.num_rows else np.zeros(0, _ROW[column])
            for column in _ROW.names or ()
        }

    def get(self, address: str) -> bytes | None:
        high, low = _hash(address)
        highs, lows = self._columns["high"], self._columns["low"]
        at = int(np.searchsorted(highs, np.uint64(high)))
        while at < len(highs) and highs[at] == high:
            if lows[at] == low:
                offset, size = int(self._columns["offset"][at]), int(self._columns["size"][at])
                tar = int(self._columns["tar"][at])
                if tar not in self._opened_tars:
                    self._opened_tars[tar] = split_path(self._tars[tar])
                folder, name = self._opened_tars[tar]
                return folder.read_range(name, offset, offset + size)
            at += 1
        return None


def index_tar(tar: InputShard) -> tuple[str, Any, list[str]]:
    """Returns the tar's path, a row of `_ROW` for each of its valid samples that has a URL, and the tar's damage."""
    folder, name = tar.split_path()
    with folder.open(name) as file:
        reader = TarReader(file, hashing=False)
        rows = np.array(list(_iterate_rows(reader)), dtype=_ROW)
    damage = [f"images {name}: byte {found.offset}: {found.description}" for found in reader.damage[:SHOWN_DAMAGE]]
    return tar.path, rows, damage


def _iterate_rows(reader: TarReader) -> Iterator[tuple[int, int, int, int, int]]:
    for sample in reader:
        try:
            _, image, metadata = read_image(sample)
        except Rejected:
            continue  # a row that refers to this image loses it with a reason; if none does, nothing is lost
        if isinstance(url := metadata.get("url"), str) and url:
            yield (*_hash(url), image.offset, len(image.data), 0)


def _hash(address: str) -> tuple[int, int]:
    digest = hashlib.blake2b(address.encode("utf-8", "replace"), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def _set_tar_number(rows: Any, tar: int) -> Any:
    rows = rows.copy()  # arrays from Ray are read-only
    rows["tar"] = tar
    return rows


def _write_table(output: Folder, rows: Any, about: dict[str, Any]) -> None:
    table = pa.table({name: np.ascontiguousarray(rows[name]) for name in _ROW.names or ()})
    table = table.replace_schema_metadata({"images": json.dumps(about).encode()})
    with output.create(_TABLE) as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
