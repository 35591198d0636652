"""Reads byte ranges of many files, local or in object stores, each file from front to back.

Neighbouring ranges of an object are read by one request.
"""

import errno
import itertools
import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from schemas.errors import ShardloomError, StorageError
from schemas.output_set.image_folders import ADVICE
from schemas.storage.file_system import describe_os_error
from schemas.storage.folder import Folder

MAX_OPEN_FILES = 64  # files that a worker keeps open
CONNECTIONS = 16  # parallel requests to an object store
MAX_GAP_BYTES = 256 << 10  # bytes between two ranges of an object; reading them costs less than another request
MAX_RANGE_BYTES = 8 << 20  # bytes of ranges per request, so that several requests run in parallel

Watch = Callable[[str], AbstractContextManager[object]]
"""Returns a context that lasts while the file of this path or URL is read; several may last at a time."""


class ByteRange(NamedTuple):
    """Names `size` bytes of a file from byte `offset`. A file of a set is `PATH_OF_SET/data/NAME`."""

    path: str
    offset: int
    size: int
    is_image: bool = False  # of a tar that a set refers to


class RangeReader:
    """Reads ranges of files, and keeps the most recently used local ones open."""

    def __init__(self, watch: Watch = nullcontext) -> None:
        self._watch = watch
        self._descriptors: OrderedDict[str, int] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._folders: dict[str, Folder] = {}

    def read(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        """Returns the bytes of these ranges in their order; reads them in the order of the files.

        A range that is not inside its local file gives no bytes, and one of an object as many as there are. Raises
        `ShardloomError` if a file cannot be read.
        """
        found: dict[int, bytes] = {}
        order = sorted(range(len(ranges)), key=lambda at: ranges[at][:3])
        distant = [at for at in order if not self.find_file(ranges[at].path)[0].is_local]
        for at in (at for at in order if self.find_file(ranges[at].path)[0].is_local):
            with self._watch(ranges[at].path):
                found[at] = self._read_local(ranges[at])
        if distant:
            runs = list(group_adjacent([ranges[at] for at in distant]))
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                parts = itertools.chain.from_iterable(pool.map(self._read_remote, runs))
                found |= zip(distant, parts, strict=True)
        return [found[at] for at in range(len(ranges))]

    def find_file(self, path: str) -> tuple[Folder, str]:
        """Returns the folder of a file's set and the file's name in it: a linked `data` leads out of the set."""
        url, *name = path.rsplit("/", 2)
        if url not in self._folders:
            self._folders[url] = Folder(url or "/")
        return self._folders[url], "/".join(name)

    def close(self) -> None:
        """Closes all files."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def _read_local(self, wanted: ByteRange) -> bytes:
        path = wanted.path
        try:
            if path not in self._descriptors:
                if len(self._descriptors) == MAX_OPEN_FILES:
                    os.close(self._descriptors.popitem(last=False)[1])
                self._descriptors[path] = self._open(wanted)
                self._sizes[path] = os.fstat(self._descriptors[path]).st_size
            self._descriptors.move_to_end(path)
            # `pread` allocates memory before it reads, so check the size first
            if not 0 <= wanted.offset <= wanted.offset + wanted.size <= self._sizes[path]:
                return b""
            return os.pread(self._descriptors[path], wanted.size, wanted.offset)
        except OSError as error:
            raise _unreadable_error(wanted, f"cannot read {path}: {describe_os_error(error)}") from None

    def _open(self, wanted: ByteRange) -> int:
        folder, name = self.find_file(wanted.path)
        if not wanted.is_image:
            folder.check_inside(name)
            return os.open(folder.get_local_path(name), os.O_RDONLY)
        # An image tar may be a link, as in the cache of a hub, but opening a pipe would wait for its writer.
        descriptor = os.open(folder.get_local_path(name), os.O_RDONLY | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is not a regular file")
        return descriptor

    def _read_remote(self, run: list[ByteRange]) -> list[bytes]:
        """Reads neighbouring ranges of one object in one request."""
        folder, name = self.find_file(run[0].path)
        first = run[0].offset
        with self._watch(run[0].path):
            try:
                data = folder.read_range(name, first, max(each.offset + each.size for each in run))
            except StorageError as error:
                raise _unreadable_error(run[0], str(error)) from None
        return [data[each.offset - first : each.offset - first + each.size] for each in run]


def group_adjacent(ranges: Sequence[ByteRange]) -> Iterator[list[ByteRange]]:
    """Groups ranges, sorted by file and position, into runs that one request should read."""
    run: list[ByteRange] = []
    for each in ranges:
        if run and (
            each.path != run[0].path
            or each.offset - (run[-1].offset + run[-1].size) > MAX_GAP_BYTES
            or each.offset + each.size - run[0].offset > MAX_RANGE_BYTES
        ):
            yield run
            run = []
        run.append(each)
    if run:
        yield run


def _unreadable_error(wanted: ByteRange, fault: str) -> ShardloomError:
    return ShardloomError(f"{fault}: it holds images that a set refers to; {ADVICE}" if wanted.is_image else fault)
