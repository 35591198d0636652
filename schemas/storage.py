"""A folder on a local disk or any fsspec URL, written so that a file is there whole or not at all."""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from schemas.errors import ShardloomError, UsageError

TEMPORARY = ".tmp-"


class Folder:
    """One folder. Names are relative to it and use `/`. Pickles, so that Ray workers can take it."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/") or url
        self._fs, self._root = _file_system(self.url)
        self.is_local = isinstance(self._fs, LocalFileSystem)

    def __truediv__(self, name: str) -> "Folder":
        return Folder(f"{self.url}/{name}")

    def path(self, name: str) -> str:
        """The full path or URL, for messages and for libraries that open files themselves."""
        return f"{self.url}/{name}" if name else self.url

    def write(self, name: str, data: bytes) -> None:
        """Puts the file in place in one step: a rename on a local disk, a single PUT on an object store."""
        if self.is_local:
            with self.create(name) as file:
                file.write(data)
        else:
            with self._errors("write", name):
                self._fs.pipe_file(f"{self._root}/{name}", data)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """A file to be written in pieces, which is put in place in one step when the block ends without an error."""
        with self._errors("write", name):
            if not self.is_local:  # an upload in parts, which the store shows when it is complete
                with self._fs.open(f"{self._root}/{name}", "wb") as file:
                    yield file
                return
            target = Path(self._root, name)
            temporary = target.with_name(f"{target.name}{TEMPORARY}{uuid.uuid4().hex[:8]}")
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb", buffering=1 << 20) as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise

    def read(self, name: str) -> bytes:
        """The file's bytes."""
        with self._errors("read", name):
            return cast(bytes, self._fs.cat_file(f"{self._root}/{name}"))

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """The file's bytes from `start` to `stop`, by one request."""
        with self._errors("read", name):
            return cast(bytes, self._fs.cat_file(f"{self._root}/{name}", start=start, end=stop))

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """The file, to be read in pieces."""
        with self._errors("read", name), self._fs.open(f"{self._root}/{name}", "rb") as file:
            yield file

    def local_path(self, name: str) -> Path:
        """The file's path on this machine's disk; only where `is_local`."""
        return Path(self._root, name)

    def names(self, below: str = "") -> list[str]:
        """Names of the files in a sub-folder, sorted; empty when it isn't there. Temporary files are not listed."""
        self._fs.invalidate_cache()
        root = f"{self._root}/{below}".rstrip("/")
        with self._errors("list", below):
            found = self._fs.find(root, maxdepth=1) if self._fs.isdir(root) else []
        return sorted(name for path in found if TEMPORARY not in (name := path.rsplit("/", 1)[-1]))

    def size(self, name: str) -> int:
        """The file's size in bytes."""
        with self._errors("read", name):
            return int(self._fs.size(f"{self._root}/{name}"))

    def exists(self, name: str = "") -> bool:
        """Whether the file or folder is there."""
        self._fs.invalidate_cache()
        with self._errors("read", name):
            return bool(self._fs.exists(f"{self._root}/{name}" if name else self._root))

    def remove(self, name: str) -> None:
        """Removes one file; it may be gone already."""
        with self._errors("remove", name), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{name}")

    def clear(self, below: str) -> None:
        """Removes a sub-folder with all that is in it."""
        with self._errors("remove", below), contextlib.suppress(FileNotFoundError):
            self._fs.rm(f"{self._root}/{below}", recursive=True)

    def make(self) -> None:
        """Makes a local folder, if it isn't there."""
        with self._errors("make", ""):
            Path(self._root).mkdir(parents=True, exist_ok=True)

    def clear_temporary(self) -> None:
        """Removes what killed writers have left on a local disk; object stores show nothing that is not complete."""
        with self._errors("clear", ""):
            for leftover in Path(self._root).rglob(f"*{TEMPORARY}*"):
                leftover.unlink(missing_ok=True)

    def sha256(self, name: str) -> tuple[int, str]:
        """Size in bytes and hash of a file."""
        digest, size = hashlib.sha256(), 0
        with self.open(name) as file:
            while data := file.read(8 << 20):
                digest.update(data)
                size += len(data)
        return size, digest.hexdigest()

    @contextlib.contextmanager
    def _errors(self, verb: str, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise StorageError(f"cannot {verb} {self.path(name)}: {reason}") from None


def _file_system(url: str) -> tuple[Any, str]:
    try:
        fs, root = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:  # a protocol that nobody knows, or one whose package is missing
        raise UsageError(f"{url}: {error}") from None
    return fs, root


class StorageError(ShardloomError):
    """A disk or an object store refused. What is committed stays valid; the same command goes on later."""


def split(path: str) -> tuple[Folder, str]:
    """The folder of a file's path or URL, and the file's name in it."""
    parent, _, name = path.rpartition("/")
    return Folder(parent or "."), name


def matching(pattern: str) -> list[str]:
    """Paths or URLs that match a glob, sorted. Raises `UsageError` when there is none."""
    fs, root = _file_system(pattern)
    protocol = pattern.split("://", 1)[0] + "://" if "://" in pattern else ""
    try:
        found = sorted(fs.glob(root))
    except OSError as error:
        raise UsageError(f"cannot list {pattern}: {error.strerror or error}") from None
    if not found:
        raise UsageError(f"no file matches {pattern}")
    if not protocol and not pattern.startswith("/"):  # keep relative what was asked for relatively
        found = [os.path.relpath(path) for path in found]
    return [protocol + path for path in found]
