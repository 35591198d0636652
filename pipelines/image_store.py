"""Where the images lie that a set only has addresses of: img2dataset shards, a map of URLs to files, or folders.

What `ingest --images` is given tells which: a folder holds files by their names (Visual Genome's two), a `.json` is a
map, anything else is a glob of tars as img2dataset writes them, joined on the URL; never on its keys, which mean
nothing outside of one download (formats.md trap 11). Several may be given; the first that has an address counts, the
shards last.

The shards' table of URLs is made once a run and lies in the output's `parts/` until the run is through: 32 bytes an
image, sorted by a hash of the URL, mapped into memory by all workers of a machine.

Images that no store has are lost, with their reason. A step that downloads them belongs before this one: it gives
shards like those of img2dataset, which are read here.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from pipelines.inputs import InputShard
from pipelines.recipe import RunOptions
from pipelines.units import map_units
from schemas.datacomp import read_sample
from schemas.document import parse_object
from schemas.errors import UsageError
from schemas.manifest import InputFile
from schemas.output_set import PARTS
from schemas.quarantine import Reason, Rejected
from schemas.recipe_file import RECIPE_FILE
from schemas.storage import Folder, matching, split
from schemas.tar_reader import TarReader

MAX_MAP = 1 << 30  # bytes of a map's file; it is held as a dict, so that millions of URLs are better kept in shards

_TABLE = f"{PARTS}/images.arrow"
_ROW = np.dtype([("high", "<u8"), ("low", "<u8"), ("offset", "<i8"), ("size", "<u4"), ("tar", "<u4")])


class ImageStore(Protocol):
    """Images by their addresses. Pickles small, so that Ray workers can take it."""

    revision: InputFile
    """Tells two states of the store apart, by names and sizes."""

    def prepare(self, output: Folder, run: RunOptions) -> None:
        """What has to be done once a run, before the first `get`."""

    def get(self, address: str) -> bytes | None:
        """The image's file, None when it isn't there. Raises `Rejected`: the address is none that may be followed."""


def open_stores(patterns: Sequence[str]) -> list[ImageStore]:
    """The stores that these folders, maps and globs are. Raises `UsageError` for one that is none."""
    stores: list[ImageStore] = []
    tars: list[str] = []
    for pattern in patterns:
        if pattern.endswith(".json"):
            stores.append(MapStore(pattern))
        elif _is_folder(pattern):
            stores.append(FolderStore(pattern))
        else:
            tars.append(pattern)
    return [*stores, ShardStore(image_tars(tars))] if tars else stores


def image_tars(patterns: Sequence[str]) -> list[InputShard]:
    """The tars that the globs match, in the order of their paths. Their names may be equal: each download has the same.

    Raises `UsageError`: none, or another file than a tar.
    """
    paths = sorted({path for pattern in patterns for path in matching(pattern)})
    wrong = next((path for path in paths if not path.endswith(".tar")), None)
    if wrong is not None:
        raise UsageError(f"images: {wrong} is no .tar file: the glob should match img2dataset's shards alone")
    return [InputShard(path.rsplit("/", 1)[-1].removesuffix(".tar"), path) for path in paths]


def find(stores: Sequence[ImageStore], address: str) -> bytes:
    """The image's file. Raises `Rejected`: it is in no store."""
    for store in stores:
        if (data := store.get(address)) is not None:
            return data
    raise Rejected(Reason.LOST_IMAGE, f"{address[:200]} is in no store")


class FolderStore:
    """Files by their names, or by paths below the folder.

    Its revision is the names and sizes of all that is in it, listed once a run: half a minute for a million on a
    local disk, a request for each thousand elsewhere. Nothing else should be written into it between a run and the
    one that goes on: only output sets are passed over, wherever they lie in it.
    """

    def __init__(self, url: str) -> None:
        self._folder = Folder(url)
        self.revision = _revision(url, files_below(self._folder))

    def prepare(self, output: Folder, run: RunOptions) -> None:
        """Nothing."""

    def get(self, address: str) -> bytes | None:
        """See `ImageStore`."""
        return None if "://" in address else read_below(self._folder, address)


class MapStore:
    """A JSON object of URLs and the names of files beside it: `{url: name}`, or `{url: {"file": name, ...}}`.

    Its revision is that of the map, and on a local disk the sizes of the files that it names: half a minute a million.
    On an object store that would be a request for each; there, a file that is replaced by another one goes unnoticed.
    """

    def __init__(self, path: str) -> None:
        self._folder, name = split(path)
        data = self._folder.read(name)
        try:
            entries = parse_object(data, "it", MAX_MAP)
        except ValueError as error:
            raise UsageError(f"images: {path} is no map of URLs to files: {error}") from None
        self._files = {url: _file_of(entry) for url, entry in entries.items()}
        wrong = next((url for url, file in self._files.items() if not file), None)
        if wrong is not None:
            raise UsageError(
                f'images: {path} is no map of URLs to files: {wrong[:80]} is neither a name nor {{"file"}}'
            )
        self.revision = InputFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        if self._folder.is_local:
            files = sorted({file for file in self._files.values() if file is not None})
            sizes = [(file, _size(self._folder, file)) for file in files]
            self.revision = _revision(path, [(self.revision.sha256, len(data)), *sizes])

    def prepare(self, output: Folder, run: RunOptions) -> None:
        """Nothing."""

    def get(self, address: str) -> bytes | None:
        """See `ImageStore`."""
        name = self._files.get(address)
        return None if name is None else read_below(self._folder, name)


class ShardStore:
    """Members of img2dataset shards by the URLs in their .json."""

    def __init__(self, tars: list[InputShard]) -> None:
        self._tars = tars
        state = [[tar.path, tar.size()] for tar in tars]
        self.revision = InputFile(
            path=f"{len(tars)} tars from {tars[0].path}",
            size=sum(tar.size() for tar in tars),
            sha256=hashlib.sha256(json.dumps(state).encode()).hexdigest(),
        )
        self._folder: Folder | None = None  # which holds the table
        self._table: _Table | None = None  # opened where it is needed first

    def prepare(self, output: Folder, run: RunOptions) -> None:
        """Makes the table, if it isn't there from a run that was stopped. Reads all the shards once."""
        self._folder = output
        if output.exists(_TABLE) and _Table(output).revision == self.revision:
            return
        order = {tar.path: number for number, tar in enumerate(self._tars)}
        found = sorted(map_units(addresses_of, self._tars, run), key=lambda each: order[each[0]])
        rows = np.concatenate([_numbered(rows, order[path]) for path, rows in found])
        rows = rows[np.lexsort((rows["low"], rows["high"]))]  # stable: the first of one URL stays the first
        _write_table(output, rows, list(order), self.revision)

    def get(self, address: str) -> bytes | None:
        """See `ImageStore`."""
        if self._table is None:
            assert self._folder is not None, "prepare was not called"
            self._table = _Table(self._folder)
        return self._table.get(address)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_table": None, "_tars": []}  # the table has their names as well


class _Table:
    """The rows of `_ROW` by the hash of the URL, and the tars that they lie in."""

    def __init__(self, output: Folder) -> None:
        name = _TABLE
        source = pa.memory_map(str(output.local_path(name))) if output.is_local else pa.BufferReader(output.read(name))
        table = pa.ipc.open_file(source).read_all()
        told = json.loads(table.schema.metadata[b"images"])
        self.revision = InputFile(**told["revision"])
        self._tars: list[str] = told["tars"]
        self._opened: dict[int, tuple[Folder, str]] = {}  # folders and names of tars; finding out takes a while
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
                if tar not in self._opened:
                    self._opened[tar] = split(self._tars[tar])
                folder, name = self._opened[tar]
                return folder.read_range(name, offset, offset + size)
            at += 1
        return None


def addresses_of(tar: InputShard) -> tuple[str, Any]:
    """The tar's path, and rows of `_ROW` for its sound samples that have a URL."""
    folder, name = tar.folder()
    with folder.open(name) as file:
        rows = np.array(list(_addresses(TarReader(file, hashing=False))), dtype=_ROW)
    return tar.path, rows


def read_below(folder: Folder, name: str) -> bytes | None:
    """A file of a folder, None when it isn't there. Raises `Rejected` for a name that leads out of it."""
    parts = name.split("/")
    if not name or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or "://" in name:
        raise Rejected(Reason.LOST_IMAGE, f"{name[:200]!r} is no name of a file below {folder.url}")
    if not folder.exists(name):
        return None
    if folder.is_local:
        path, root = folder.local_path(name).resolve(), folder.local_path("").resolve()
        if not path.is_file() or not path.is_relative_to(root):
            raise Rejected(Reason.LOST_IMAGE, f"{name[:200]!r} is no file below {folder.url}")
    return folder.read(name)


def files_below(folder: Folder) -> Iterator[tuple[str, int]]:
    """Name below the folder, and bytes, of each file, in one order; not those of output sets."""
    if not folder.is_local:
        sizes = folder.sizes_below()
        sets = tuple(name.removesuffix(RECIPE_FILE) for name in sizes if f"/{name}".endswith(f"/{RECIPE_FILE}"))
        yield from ((name, sizes[name]) for name in sorted(sizes) if not name.startswith(sets))
        return
    top = folder.local_path("")
    for place, folders, names in os.walk(top):
        if RECIPE_FILE in names:
            folders.clear()
            continue
        folders.sort()
        inside = Path(place).relative_to(top).as_posix()
        for name in sorted(names):
            below = f"{inside}/{name}"
            yield below, _size(folder, below)


def _size(folder: Folder, name: str) -> int:
    """Bytes of a file on a local disk; -1 where there is none."""
    try:
        return folder.local_path(name).stat().st_size
    except (OSError, ValueError):  # not there, or no name at all
        return -1


def _revision(path: str, files: Iterable[tuple[str, int]]) -> InputFile:
    """The state of these files: their names and sizes."""
    digest, total = hashlib.sha256(), 0
    for name, size in files:
        digest.update(json.dumps([name, size]).encode())
        total += max(size, 0)
    return InputFile(path=path, size=total, sha256=digest.hexdigest())


def _addresses(reader: TarReader) -> Iterator[tuple[int, int, int, int, int]]:
    for sample in reader:
        try:
            found = read_sample(sample)
        except Rejected:
            continue  # an image that nothing refers to is no loss, and one that something does is lost there
        if found.url:
            yield (*_hash(found.url), found.image.offset, len(found.image.data), 0)


def _hash(address: str) -> tuple[int, int]:
    digest = hashlib.blake2b(address.encode("utf-8", "replace"), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def _numbered(rows: Any, tar: int) -> Any:
    rows = rows.copy()  # what Ray hands over is read-only
    rows["tar"] = tar
    return rows


def _write_table(output: Folder, rows: Any, tars: list[str], revision: InputFile) -> None:
    told = json.dumps({"revision": revision.model_dump(), "tars": tars}).encode()
    table = pa.table({name: np.ascontiguousarray(rows[name]) for name in _ROW.names or ()})
    table = table.replace_schema_metadata({"images": told})
    with output.create(_TABLE) as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _file_of(entry: Any) -> str | None:
    file = entry.get("file") if isinstance(entry, dict) else entry
    return file if isinstance(file, str) else None


def _is_folder(pattern: str) -> bool:
    folder = Folder(pattern)
    if folder.is_local:
        return folder.local_path("").is_dir()
    return "*" not in pattern and not pattern.endswith(".tar") and folder.exists() and bool(folder.names())
