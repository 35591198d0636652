"""A folder on a local disk or any fsspec URL, written so that a file is there whole or not at all.

Credentials of object stores come from where their own tools have them (AWS_PROFILE, AWS_ENDPOINT_URL, roles ...). What
else fsspec's file system takes is told by `use_options`, and is an environment variable of every process that works.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from schemas.errors import StorageError, UsageError, one_line
from schemas.extras import require_extra
from schemas.masking import MASK, secret_name

TEMPORARY = ".tmp-"
OPTIONS = "SHARDLOOM_STORAGE_OPTIONS"  # variable with a JSON object of options of fsspec's file system
READ_BYTES = 8 << 20  # of an object, at least, by one request: what object stores serve best
REQUESTS = 16  # under way at once

T = TypeVar("T")


def use_options(given: Sequence[str]) -> None:
    """Takes KEY=VALUE for all stores but local disks, here and in processes started from here; values may be JSON."""
    options = _options()
    for each in given:
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise UsageError(f"--storage-option: {each!r} is not KEY=VALUE")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    if given:
        os.environ[OPTIONS] = json.dumps(options)


def refuse_secrets(given: Sequence[str]) -> None:
    """Raises `UsageError` for a KEY=VALUE of a command line that is a secret: `ps` shows it to all of the machine."""
    for each in given:
        name, equals, value = each.partition("=")
        try:
            found = secret_name(name, json.loads(value))
        except ValueError:
            found = secret_name(name, value)
        if equals and found is not None:
            raise UsageError(
                f"--storage-option {found}: all users of the machine can read a command line, so it takes no secret: "
                f"use what the store's own tools use (AWS_PROFILE, a role, a file of keys), or the variable {OPTIONS}"
            )


class StrangeFile(StorageError):
    """A file of a folder is none that its writer has put there: a link, a device, or one that is far too large."""


class Folder:
    """One folder. Names are relative to it and use `/`. Pickles, so that Ray workers can take it."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/") or url
        self._fs, self._root = file_system(self.url)
        self.is_local = isinstance(self._fs, LocalFileSystem)
        self._is_web = self.url.lower().startswith(("http://", "https://"))

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

    def write_new(self, name: str, data: bytes) -> None:
        """As `write`, where no other process may have put that file. `StorageError` when one has.

        The store itself sees to it, where it has conditional writes; on a local disk the set's lock does.
        """
        if self.is_local:
            self.write(name, data)
            return
        with self._errors("write", name):
            try:
                self._fs.pipe_file(f"{self._root}/{name}", data, mode="create")
                return
            except FileExistsError:
                raise StorageError(
                    f"{self.path(name)} is there already: another run is writing to this output; let it, or stop it "
                    "and run this again"
                ) from None
            except (NotImplementedError, TypeError):
                pass
            except OSError as error:
                if error.errno != errno.ENOSYS:
                    raise
            self._fs.pipe_file(f"{self._root}/{name}", data)  # a store without conditions

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """A file to be written in pieces, which is put in place in one step when the block ends without an error."""
        with self._errors("write", name):
            if not self.is_local:  # first to a disk here: so an error sends nothing, and an upload can be sent again
                with tempfile.NamedTemporaryFile(prefix="shardloom-") as file:
                    yield cast(BinaryIO, file)
                    file.flush()
                    self._fs.put_file(file.name, f"{self._root}/{name}")
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

    def read_inside(self, name: str, most: int) -> bytes:
        """The bytes of a regular file of this folder. Raises `StrangeFile` for another, or one of over `most` bytes.

        For files that others may have put there: a link may lead anywhere, and a device has no end. An object store
        has neither, and would be asked twice for a size.
        """
        self.check_inside(name)
        if self.is_local and (size := self.size(name)) > most:
            raise StrangeFile(f"cannot read {self.path(name)}: it has {size:,} bytes, more than {most:,}")
        return self.read(name)

    def check_inside(self, name: str) -> None:
        """Raises `StrangeFile` for what is no regular file, or not in this folder. Object stores have nothing else."""
        if not self.is_local:
            return
        with self._errors("read", name):
            is_regular = stat.S_ISREG(Path(self._root, name).lstat().st_mode)
        if not is_regular or not self.holds(name.rpartition("/")[0]):
            raise StrangeFile(
                f"cannot read {self.path(name)}: only regular files in the folder itself are read, no links and devices"
            )

    def holds(self, below: str) -> bool:
        """Whether a sub-folder lies in this folder; one that is a link may lie elsewhere."""
        root = Path(self._root).resolve()
        return not self.is_local or Path(self._root, below).resolve().is_relative_to(root)

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """The file's bytes from `start` to `stop`, by one request."""
        with self._errors("read", name):
            data = cast(bytes, self._fs.cat_file(f"{self._root}/{name}", start=start, end=stop))
            return data if len(data) <= stop - start else data[start:stop]  # of a server that gives whole files alone

    def at_once(self, work: Callable[[str], T], names: Sequence[str]) -> list[T]:
        """What `work` gives for each of the files, in their order; on an object store many of them at a time."""
        if self.is_local or len(names) < 2:
            return [work(name) for name in names]
        with ThreadPoolExecutor(REQUESTS) as pool:
            return list(pool.map(work, names))

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """The file, to be read in pieces; of an object `READ_BYTES` at least are asked for at once."""
        with self._errors("read", name):
            if self.is_local:
                with self._fs.open(f"{self._root}/{name}", "rb") as file:
                    yield file
            else:
                with self._opened(f"{self._root}/{name}") as file:
                    yield file

    def _opened(self, path: str) -> BinaryIO:
        if self._is_web and not self._fs.info(path).get("partial"):  # a server that gives whole files alone
            copy = tempfile.TemporaryFile(prefix="shardloom-")  # noqa: SIM115  the reader closes it
            self._fs.get_file(path, copy)
            copy.seek(0)
            return cast(BinaryIO, copy)
        return cast(BinaryIO, io.BufferedReader(self._fs.open(path, "rb", cache_type="none"), READ_BYTES))

    def source(self, name: str) -> str | io.BytesIO:
        """The file for libraries that open local files themselves: its path, or its bytes if it is not local."""
        return self.path(name) if self.is_local else io.BytesIO(self.read(name))

    def local_path(self, name: str) -> Path:
        """The file's path on this machine's disk; only where `is_local`."""
        return Path(self._root, name)

    def names(self, below: str = "") -> list[str]:
        """Names of the files in a sub-folder, sorted; empty when it isn't there.

        Temporary files are not listed, nor are hidden ones, which other programs leave: `.DS_Store`, `.nfs...`, `._x`.
        """
        self._fs.invalidate_cache()
        root = f"{self._root}/{below}".rstrip("/")
        with self._errors("list", below):
            if self.is_local:
                found = self._fs.find(root, maxdepth=1) if self._fs.isdir(root) else []
            else:
                found = [entry["name"] for entry in self._listed(root) if entry["type"] == "file"]
        return sorted(name for path in found if (name := path.rsplit("/", 1)[-1]) and _is_listed(name))

    def check_output(self) -> None:
        """Raises `UsageError` for a folder that nothing can be written to."""
        if self._is_web:
            raise UsageError(f"{self.url}: a web server takes no output: give a path, or the URL of a store")

    def is_empty(self) -> bool:
        """Whether there is no file in it or its sub-folders that `names` lists; also when it isn't there."""
        self._fs.invalidate_cache()
        with self._errors("list", ""):
            return not any(_is_listed(name) for _, _, names in self._fs.walk(self._root) for name in names if name)

    def sizes_below(self) -> dict[str, int]:
        """Bytes of each file in it and its sub-folders, by their names from here."""
        with self._errors("list", ""):
            found = self._fs.find(self._root, detail=True)
        return {path.removeprefix(self._root).lstrip("/"): int(each["size"] or 0) for path, each in found.items()}

    def size(self, name: str) -> int:
        """The file's size in bytes."""
        with self._errors("read", name):
            return int(self._fs.size(f"{self._root}/{name}"))

    def modified(self, name: str) -> float | None:
        """When the file was last written, in seconds since 1970 by the store's clock; None where it isn't told."""
        self._fs.invalidate_cache()
        try:
            return float(self._fs.modified(f"{self._root}/{name}").timestamp())
        except (FileNotFoundError, NotImplementedError):
            return None

    def exists(self, name: str = "") -> bool:
        """Whether the file or folder is there."""
        self._fs.invalidate_cache()
        with self._errors("read", name):
            return bool(self._fs.exists(f"{self._root}/{name}" if name else self._root))

    def remove(self, name: str) -> None:
        """Removes one file; it may be gone already."""
        with self._errors("remove", name), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{name}")

    def clear(self, below: str, but: str | None = None) -> None:
        """Removes a sub-folder with all that is in it, but for one file."""
        self._fs.invalidate_cache()
        root = f"{self._root}/{below}"
        with self._errors("remove", below), contextlib.suppress(FileNotFoundError):
            for path in [root] if but is None else self._fs.ls(root, detail=False):
                if but is None or path.rsplit("/", 1)[-1] != but:
                    self._remove_tree(path)

    def _remove_tree(self, path: str) -> None:
        """Removes a file or a sub-folder. A hidden file that won't go, as NFS's of one that is open, is left."""
        try:
            self._fs.rm(path, recursive=True)
        except FileNotFoundError:
            raise
        except OSError:
            if not self.is_local:
                raise
            shutil.rmtree(path, ignore_errors=True)
            if not Path(path).is_dir() or any(_is_listed(name) for *_, names in os.walk(path) for name in names):
                raise

    def make(self) -> None:
        """Makes a local folder, if it isn't there."""
        with self._errors("make", ""):
            Path(self._root).mkdir(parents=True, exist_ok=True)

    def clear_temporary(self) -> None:
        """Removes what killed writers have left on a local disk; object stores show nothing that is not complete."""
        with self._errors("clear", ""):
            for leftover in Path(self._root).rglob(f"?*{TEMPORARY}*"):
                leftover.unlink(missing_ok=True)

    def sha256(self, name: str) -> tuple[int, str]:
        """Size in bytes and hash of a file."""
        digest, size = hashlib.sha256(), 0
        with self.open(name) as file:
            while data := file.read(8 << 20):
                digest.update(data)
                size += len(data)
        return size, digest.hexdigest()

    def _listed(self, root: str) -> list[dict[str, Any]]:
        try:
            return cast(list[dict[str, Any]], self._fs.ls(root, detail=True))
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def _errors(self, verb: str, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"cannot {verb} {self.path(name)}: {reason_of(error)}") from None
        except Exception as error:
            if isinstance(error, TypeError) and "keyword argument" in str(error) and not self.is_local:
                raise UsageError(f"{self.url}: it takes no such --storage-option: {one_line(error)}") from None
            if not type(error).__module__.startswith("aiohttp."):  # a web server's refusals are no OSError
                raise
            raise StorageError(f"cannot {verb} {self.path(name)}: {one_line(error)}") from None


def file_system(url: str) -> tuple[Any, str]:
    """Returns fsspec's file system of a path or URL, and its name there. Raises `UsageError` when there is none."""
    protocol = url.partition("://")[0] if "://" in url else "file"
    options = {} if protocol in ("file", "local") else _options()
    if f"://{MASK}@" in url or url.endswith(f"?{MASK}"):
        raise UsageError(f"{url}: its secret was left out where it is stored; give the URL anew")
    try:
        if protocol in ("s3", "s3a"):
            require_extra("s3", url)
            from schemas.storage.s3 import PatientS3  # here, because it takes a while to import

            return PatientS3(**options), PatientS3._strip_protocol(url)
        fs, root = fsspec.core.url_to_fs(url, **options)
    except (ValueError, TypeError, ImportError) as error:  # unknown protocols and options, packages that are missing
        raise UsageError(f"{url}: {error}") from None
    return fs, root


def _is_listed(name: str) -> bool:
    return TEMPORARY not in name and not name.startswith(".")


def _options() -> dict[str, Any]:
    try:
        options = json.loads(os.environ.get(OPTIONS, "{}"))
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise UsageError(f"{OPTIONS} is no JSON object")
    return options


def reason_of(error: OSError) -> str:
    """Returns an error of a disk or a store in its own words."""
    if isinstance(error, FileNotFoundError):  # which object stores have other words for
        return os.strerror(errno.ENOENT)
    return error.strerror or str(error) or type(error).__name__


def split(path: str) -> tuple[Folder, str]:
    """The folder of a file's path or URL, and the file's name in it."""
    parent, _, name = path.rpartition("/")
    return Folder(parent or "."), name
