"""Reads and writes a folder on a local disk or at any fsspec URL, so that a file exists complete or not at all.

Credentials of object stores come from where the store's own tools find them (AWS_PROFILE, AWS_ENDPOINT_URL, roles ...).
`schemas.storage.options` has the others of fsspec's file system.
"""

import contextlib
import errno
import glob
import hashlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from fsspec.implementations.local import LocalFileSystem

from schemas.errors import StorageError, UsageError, to_one_line
from schemas.hidden_files import is_hidden_name
from schemas.storage.disk import TEMPORARY, create_file, link_new, write_file
from schemas.storage.file_system import describe_os_error, open_file_system

READ_BYTES = 8 << 20  # minimum bytes of an object per request: object stores serve large ranges best
MAX_REQUESTS = 16  # concurrent requests

F = TypeVar("F")
T = TypeVar("T")


class UnsafeFile(StorageError):
    """Reports a file that the folder's writer cannot have put there: a link, a device, or one that is far too large."""


class AlreadyWritten(StorageError):
    """Reports a file that was to be new and that another process has written."""


class Folder:
    """Reads and writes the files of one folder.

    Names are relative to the folder and use `/`. A `Folder` can be pickled, so that Ray can send it to workers.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/") or url
        self._fs, self._root = open_file_system(self.url)
        self.is_local = isinstance(self._fs, LocalFileSystem)
        self._is_web = self.url.lower().startswith(("http://", "https://"))

    def __truediv__(self, name: str) -> "Folder":
        return Folder(f"{self.url}/{name}")

    def resolve_path(self, name: str) -> str:
        """Returns the full path or URL, for messages and for libraries that open files themselves."""
        return f"{self.url}/{name}" if name else self.url

    def write(self, name: str, data: bytes) -> None:
        """Writes the file atomically: by a rename on a local disk, by a single PUT on an object store."""
        with self._translate_errors("write", name):
            if self.is_local:
                write_file(Path(self._root, name), data, Path.replace)
            else:
                self._fs.pipe_file(f"{self._root}/{name}", data)

    def write_new(self, name: str, data: bytes) -> None:
        """Writes a file that must not exist yet. Raises `AlreadyWritten` if another process has written it.

        A store with conditional writes guarantees this, and so does a disk with hard links.
        """
        with self._translate_errors("write", name):
            try:
                if self.is_local:
                    write_file(Path(self._root, name), data, link_new)
                else:
                    self._fs.pipe_file(f"{self._root}/{name}", data, mode="create")
                return
            except FileExistsError:
                raise AlreadyWritten(
                    f"{self.resolve_path(name)} already exists: another run is writing to this output; "
                    "wait for it, or stop it and rerun this command"
                ) from None
            except (NotImplementedError, TypeError):
                pass
            except OSError as error:
                if error.errno != errno.ENOSYS:
                    raise
            self._fs.pipe_file(f"{self._root}/{name}", data)  # the store has no conditional writes

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """Opens a file for writing in pieces; it appears atomically when the block ends without an error."""
        with self._translate_errors("write", name):
            if self.is_local:
                with create_file(Path(self._root, name), Path.replace) as local:
                    yield local
                return
            # written to a local disk first, so that an error uploads nothing and an upload can be retried
            with tempfile.NamedTemporaryFile(prefix="shardloom-") as file:
                yield cast(BinaryIO, file)
                file.flush()
                self._fs.put_file(file.name, f"{self._root}/{name}")

    def read(self, name: str) -> bytes:
        """Reads the whole file."""
        with self._translate_errors("read", name):
            return cast(bytes, self._fs.cat_file(f"{self._root}/{name}"))

    def read_inside(self, name: str, max_bytes: int) -> bytes:
        """Reads a file that others may have put there. Raises `UnsafeFile` unless it is a regular file of this folder.

        A link may lead anywhere, and a device has no end. On a local disk, it also raises `UnsafeFile` for a file of
        more than `max_bytes` bytes; on an object store, the size is not checked, which would take a second request.
        """
        self.check_inside(name)
        if self.is_local and (size := self.get_size(name)) > max_bytes:
            raise UnsafeFile(f"cannot read {self.resolve_path(name)}: it has {size:,} bytes, more than {max_bytes:,}")
        return self.read(name)

    def check_inside(self, name: str) -> None:
        """Raises `UnsafeFile` for a file that is not regular or not in this folder.

        An object store has no such files.
        """
        if not self.is_local:
            return
        with self._translate_errors("read", name):
            is_regular = stat.S_ISREG(Path(self._root, name).lstat().st_mode)
        if not is_regular or not self.is_inside(name.rpartition("/")[0]):
            raise UnsafeFile(
                f"cannot read {self.resolve_path(name)}: "
                "only regular files inside the folder are read, not links or devices"
            )

    def is_inside(self, subfolder: str) -> bool:
        """Returns whether a sub-folder is really inside this folder; a link may point elsewhere."""
        root = Path(self._root).resolve()
        return not self.is_local or Path(self._root, subfolder).resolve().is_relative_to(root)

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Reads the file's bytes from `start` to `stop` (exclusive), in one request."""
        with self._translate_errors("read", name):
            data = cast(bytes, self._fs.cat_file(f"{self._root}/{name}", start=start, end=stop))
            # a server without range requests sends the whole file
            return data if len(data) <= stop - start else data[start:stop]

    def map_files(self, work: Callable[[F], T], files: Sequence[F]) -> list[T]:
        """Applies `work` to each of the files, given by name or in any other way, and returns the results in order; on
        an object store, concurrently.
        """
        if self.is_local or len(files) < 2:
            return [work(file) for file in files]
        with ThreadPoolExecutor(MAX_REQUESTS) as pool:
            return list(pool.map(work, files))

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Opens the file for reading in pieces; each request to an object store reads at least `READ_BYTES`."""
        with self._translate_errors("read", name):
            if self.is_local:
                with self._fs.open(f"{self._root}/{name}", "rb") as file:
                    yield file
            else:
                with self._open_remote(f"{self._root}/{name}") as file:
                    yield file

    def _open_remote(self, path: str) -> BinaryIO:
        if self._is_web and not self._fs.info(path).get("partial"):  # a server without range requests
            copy = tempfile.TemporaryFile(prefix="shardloom-")  # noqa: SIM115  the reader closes it
            self._fs.get_file(path, copy)
            copy.seek(0)
            return cast(BinaryIO, copy)
        return cast(BinaryIO, io.BufferedReader(self._fs.open(path, "rb", cache_type="none"), READ_BYTES))

    def get_local_path(self, name: str) -> Path:
        """Returns the file's path on this machine's disk; only valid if `is_local`."""
        return Path(self._root, name)

    def list_files(self, subfolder: str = "", prefix: str = "") -> list[str]:
        """Lists the names of the files in a sub-folder, sorted; empty if it does not exist.

        It skips temporary files, and hidden files, which other programs leave: `.DS_Store`, `.nfs...`, `Thumbs.db`.
        With a `prefix` it lists only names that begin with it, and temporary files too.
        """
        self._fs.invalidate_cache()
        root = f"{self._root}/{subfolder}".rstrip("/")
        with self._translate_errors("list", subfolder):
            if self.is_local:
                found = self._fs.find(root, maxdepth=1) if self._fs.isdir(root) else []
            else:
                found = [entry["name"] for entry in self._list_entries(root) if entry["type"] == "file"]
        names = (path.rsplit("/", 1)[-1] for path in found)
        return sorted(name for name in names if name and (name.startswith(prefix) if prefix else _is_listed(name)))

    def check_output(self) -> None:
        """Raises `UsageError` if this can be no folder to write to: a web server, a file, or a place below a file."""
        if self._is_web:
            raise UsageError(f"{self.url}: a web server cannot store output: give a path or an object store's URL")
        if self.is_local:
            place = Path(self._root)
            with self._translate_errors("make", ""):
                file = next((one for one in (place, *place.parents) if one.exists() and not one.is_dir()), None)
            if file is not None:
                raise UsageError(f"{self.url}: {file} is not a folder: use another output folder")

    def is_empty(self, ignored: str = "") -> bool:
        """Returns whether the folder and its sub-folders have no file that `list_files` lists, apart from files of the
        name `ignored`; True if the folder does not exist.
        """
        self._fs.invalidate_cache()
        with self._translate_errors("list", ""):
            names = (name for *_, names in self._fs.walk(self._root) for name in names)
            return not any(_is_listed(name) for name in names if name not in ("", ignored))

    def list_sizes(self) -> dict[str, int]:
        """Returns the size in bytes of each file in the folder and its sub-folders, by name relative to the folder."""
        with self._translate_errors("list", ""):
            found = self._fs.find(self._root, detail=True)
        return {path.removeprefix(self._root).lstrip("/"): int(each["size"] or 0) for path, each in found.items()}

    def get_size(self, name: str) -> int:
        """Returns the file's size in bytes."""
        with self._translate_errors("read", name):
            return int(self._fs.size(f"{self._root}/{name}"))

    def get_modified_time(self, name: str) -> float | None:
        """Returns when the file was last written, in seconds since 1970 by the store's clock.

        Returns None if the file does not exist or the store does not say.
        """
        self._fs.invalidate_cache()
        with self._translate_errors("read", name):
            try:
                return float(self._fs.modified(f"{self._root}/{name}").timestamp())
            except (FileNotFoundError, NotImplementedError):
                return None

    def exists(self, name: str = "") -> bool:
        """Returns whether the file or folder exists."""
        self._fs.invalidate_cache()
        with self._translate_errors("read", name):
            return bool(self._fs.exists(f"{self._root}/{name}" if name else self._root))

    def remove(self, name: str) -> None:
        """Removes one file, if it exists."""
        with self._translate_errors("remove", name), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{name}")

    def clear(self, subfolder: str, keep: str | None = None) -> None:
        """Removes a sub-folder with its content; `keep` names one file to keep."""
        self._fs.invalidate_cache()
        root = f"{self._root}/{subfolder}"
        with self._translate_errors("remove", subfolder), contextlib.suppress(FileNotFoundError):
            for path in [root] if keep is None else self._fs.ls(root, detail=False):
                if keep is None or path.rsplit("/", 1)[-1] != keep:
                    self._remove_tree(path)

    def _remove_tree(self, path: str) -> None:
        """Removes a file or a sub-folder. Leaves hidden files that can't be removed, such as NFS's for open files.

        Tries again once: another process may have written a file there meanwhile.
        """
        try:
            if self.is_local or not glob.has_magic(path):
                self._fs.rm(path, recursive=True)
                return
            for file in self._fs.find(path):  # `rm` would read the path as a pattern, and remove others' files
                self._fs.rm_file(file)
        except FileNotFoundError:
            raise
        except OSError:
            if not self.is_local:
                raise
            shutil.rmtree(path, ignore_errors=True)
            if Path(path).is_file() or any(_is_listed(name) for *_, names in os.walk(path) for name in names):
                raise

    def make_folder(self) -> None:
        """Creates the folder, if it does not exist; only valid if `is_local`."""
        with self._translate_errors("create", ""):
            Path(self._root).mkdir(parents=True, exist_ok=True)

    def clear_temporary(self) -> None:
        """Removes the files that killed writers left on a local disk; object stores show complete objects only."""
        with self._translate_errors("clear", ""):
            for leftover in Path(self._root).rglob(f"?*{TEMPORARY}*"):
                leftover.unlink(missing_ok=True)

    def hash_file(self, name: str) -> tuple[int, str]:
        """Returns a file's size in bytes and its sha256 in hexadecimal."""
        digest, size = hashlib.sha256(), 0
        with self.open(name) as file:
            while data := file.read(8 << 20):
                digest.update(data)
                size += len(data)
        return size, digest.hexdigest()

    def _list_entries(self, root: str) -> list[dict[str, Any]]:
        try:
            return cast(list[dict[str, Any]], self._fs.ls(root, detail=True))
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def _translate_errors(self, verb: str, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"cannot {verb} {self.resolve_path(name)}: {describe_os_error(error)}") from None
        except Exception as error:
            if isinstance(error, TypeError) and "keyword argument" in str(error) and not self.is_local:
                raise UsageError(
                    f"{self.url}: it does not accept this --storage-option: {to_one_line(error)}"
                ) from None
            if not type(error).__module__.startswith("aiohttp."):  # a web server's refusal is not an OSError
                raise
            raise StorageError(f"cannot {verb} {self.resolve_path(name)}: {to_one_line(error)}") from None


def _is_listed(name: str) -> bool:
    return TEMPORARY not in name and not is_hidden_name(name)


def split_path(path: str) -> tuple[Folder, str]:
    """Returns the folder of a file's path or URL, and the file's name in it."""
    parent, _, name = path.rpartition("/")
    return Folder(parent or "."), name
