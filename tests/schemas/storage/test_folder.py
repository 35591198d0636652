"""Files are there whole or not at all: on full disks, on read-only ones, after errors, on object stores."""

import errno
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import StorageError, UsageError
from schemas.storage.folder import AlreadyWritten, Folder, split_path
from schemas.storage.path_patterns import list_matching
from tests.pipelines.support.sets import small_disk


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("protocol", ["", "file://", "memory://"])
def test_what_is_written_is_read(tmp_path: Path, protocol: str) -> None:
    folder = pickle.loads(pickle.dumps(Folder(f"{protocol}{tmp_path}/out/")))  # noqa: S301  our own bytes
    assert not folder.exists()
    assert folder.is_empty()
    assert folder.list_files("data") == []
    folder.write("data/a", b"one")
    folder.write("data/a", b"three")
    with folder.create("data/b") as file:
        file.write(b"t")
        file.write(b"wo")
    assert (folder.read("data/a"), folder.read("data/b"), folder.get_size("data/a")) == (b"three", b"two", 5)
    assert folder.list_files("data") == ["a", "b"]
    assert folder.list_files() == []
    assert not folder.is_empty()
    assert folder.hash_file("data/b")[0] == 3
    assert folder.resolve_path("data/a") == f"{protocol}{tmp_path}/out/data/a"
    folder.remove("data/a")
    folder.remove("data/a")
    assert folder.list_files("data") == ["b"]
    folder.write("data/c", b"four")
    folder.write("data/more/d", b"five")
    folder.clear("data", keep="b")
    assert folder.list_sizes() == {"data/b": 3}
    folder.clear("nothing", keep="b")
    folder.clear("data")
    folder.clear("data")
    assert folder.list_files("data") == []


def test_an_error_in_the_middle_leaves_what_was_there(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write("a", b"old")
    with pytest.raises(ZeroDivisionError), folder.create("a") as file:
        file.writelines(bytes(1_000_000 // left) for left in (2, 1, 0))
    assert files(tmp_path) == ["a"]
    assert folder.read("a") == b"old"


@pytest.mark.parametrize("protocol", ["", "memory://"])
def test_hidden_files_are_not_listed_and_fill_no_folder(tmp_path: Path, protocol: str) -> None:
    folder = Folder(f"{protocol}{tmp_path}/hidden")
    for name in (
        ".DS_Store",
        "data/.DS_Store",
        "data/._a",
        "data/.nfs0000000000c0ffee",
        "data/Thumbs.db",
        "desktop.ini",
    ):
        folder.write(name, b"x")
    assert (folder.list_files(), folder.list_files("data"), folder.is_empty()) == ([], [], True)
    folder.write("data/a", b"1")
    assert (folder.list_files("data"), folder.is_empty()) == (["a"], False)


def test_a_hidden_file_that_is_in_use_stops_no_clearing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS keeps a file that another process has open under such a name, and removes it only then."""
    folder, unlink = Folder(str(tmp_path)), os.unlink

    def busy(path: str, **options: Any) -> None:
        if Path(path).name in held:
            raise OSError(errno.EBUSY, "Device or resource busy", path)
        unlink(path, **options)

    held = [".nfs0000000000c0ffee"]
    monkeypatch.setattr(os, "unlink", busy)
    for name in ("a", *held, "z"):
        folder.write(f"parts/{name}", b"x")
    folder.clear("parts")
    assert files(tmp_path) == held
    folder.write("parts/a", b"x")
    held.append("a")
    with pytest.raises(StorageError, match=r"cannot remove .*/parts: Device or resource busy"):
        folder.clear("parts")


def test_a_file_written_while_its_folder_is_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clearing removes it as well."""
    folder, rmdir = Folder(str(tmp_path)), os.rmdir
    late = ["z"]

    def write_late(path: str, **options: Any) -> None:
        if late and Path(path).name == "parts":
            (tmp_path / "parts" / late.pop()).touch()
        rmdir(path, **options)

    monkeypatch.setattr(os, "rmdir", write_late)
    folder.write("parts/a", b"x")
    folder.clear("parts")
    assert (late, list(tmp_path.iterdir())) == ([], [])


def clear_with(monkeypatch: pytest.MonkeyPatch, function: str, folder: Path, times: int) -> None:
    """Removes a folder before each of the first calls of a function of `os`, as a run that completes the set does."""
    real: Callable[..., Any] = getattr(os, function)
    left = [None] * times

    def clear_first(*arguments: Any, **options: Any) -> Any:
        if left:
            left.pop()
            shutil.rmtree(folder)
        return real(*arguments, **options)

    monkeypatch.setattr(os, function, clear_first)


@pytest.mark.parametrize("write", [Folder.write, Folder.write_new])
def test_a_folder_that_is_cleared_while_a_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Folder, str, bytes], None]
) -> None:
    folder = Folder(str(tmp_path))
    with monkeypatch.context() as patched:
        clear_with(patched, "fsync", tmp_path / "parts", times=2)
        write(folder, "parts/a", b"1")
    assert (folder.read("parts/a"), files(tmp_path)) == (b"1", ["a"])
    clear_with(monkeypatch, "fsync", tmp_path / "parts", times=3)
    with pytest.raises(StorageError, match=r"^cannot write .*/parts/b: No such file or directory$"):
        write(folder, "parts/b", b"2")


def test_what_a_kill_leaves_is_not_listed_and_goes(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write("data/a", b"1")
    (tmp_path / "data/b.tmp-01234567").write_bytes(b"half")
    assert folder.list_files("data") == ["a"]
    folder.clear_temporary()
    assert files(tmp_path) == ["a"]


@pytest.mark.parametrize("size", [400_000, 3_000_000])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, size: int) -> None:
    """One file that fails when it is flushed, one that fails before."""
    with small_disk(tmp_path / "disk", 256 << 10) as disk:
        folder = Folder(f"{disk}/out")
        folder.write("a", b"old")
        with pytest.raises(StorageError) as error:
            folder.write("a", bytes(size))
        assert str(error.value) == f"cannot write {disk}/out/a: {os.strerror(errno.ENOSPC)}"
        with pytest.raises(StorageError, match=r"cannot write .*/out/b: No space left"), folder.create("b") as file:
            file.writelines(bytes(100_000) for _ in range(size // 100_000))
        assert files(disk) == ["a"]
        assert folder.read("a") == b"old"
        folder.write("a", b"new")
        assert folder.read("a") == b"new"


def test_a_read_only_disk_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 256 << 10, read_only=True) as disk:
        reason = os.strerror(errno.EROFS)
        with pytest.raises(StorageError) as error:
            Folder(str(disk)).write("data/a", b"1")
        assert str(error.value) == f"cannot write {disk}/data/a: {reason}"
        with pytest.raises(StorageError) as error:
            Folder(f"{disk}/new").make_folder()
        assert str(error.value) == f"cannot create {disk}/new: {reason}"


def test_errors_name_the_path(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"cannot read .*/nothing: No such file or directory"):
        folder.read("nothing")
    with (
        pytest.raises(StorageError, match=r"cannot read .*/nothing: No such file or directory"),
        folder.open("nothing"),
    ):
        pass
    with pytest.raises(StorageError, match=r"cannot write .*/file/a: (File exists|Not a directory)"):
        folder.write("file/a", b"1")
    with pytest.raises(StorageError, match=r"cannot create .*/file: File exists"):
        (folder / "file").make_folder()


def test_a_time_that_cannot_be_read_is_an_error_of_the_storage(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write("a", b"")
    assert folder.get_modified_time("b") is None
    with pytest.raises(StorageError, match=r"^cannot read .*/a/b: Not a directory$"):
        folder.get_modified_time("a/b")


@pytest.mark.parametrize("use", [Folder, list_matching])
def test_unknown_protocols_are_wrong_use(use: type) -> None:
    with pytest.raises(UsageError, match=r"nowhere://x.*Protocol not known: nowhere"):
        use("nowhere://x/*.tar")


def test_globs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.tar", "a.tar", "a.json"):
        (tmp_path / name).write_bytes(b"")
    assert list_matching(f"{tmp_path}/*.tar") == [f"{tmp_path}/a.tar", f"{tmp_path}/b.tar"]
    assert list_matching(f"file://{tmp_path}/*.tar") == [f"file://{tmp_path}/a.tar", f"file://{tmp_path}/b.tar"]
    monkeypatch.chdir(tmp_path)
    assert list_matching("*.tar") == ["a.tar", "b.tar"]
    with pytest.raises(UsageError, match=r"no file matches \*\.webp"):
        list_matching("*.webp")
    with pytest.raises(UsageError, match=r"^a\*\*b/\*\.tar: Invalid pattern: '\*\*' can only be "):
        list_matching("a**b/*.tar")


def test_split(tmp_path: Path) -> None:
    for path, parent in (("a.tar", "."), ("x/a.tar", "x"), ("memory://x/a.tar", "memory://x")):
        folder, name = split_path(path)
        assert (folder.url, name) == (parent, "a.tar")
    (tmp_path / "a").write_bytes(b"1")
    folder, name = split_path(f"{tmp_path}/a")
    assert folder.read(name) == b"1"


def test_a_new_file_replaces_none(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write_new("data/a", b"first")
    with pytest.raises(AlreadyWritten, match=r"data/a already exists: another run is writing to this output; "):
        folder.write_new("data/a", b"second")
    assert (folder.read("data/a"), files(tmp_path)) == (b"first", ["a"])


@pytest.mark.parametrize(("number", "text"), [(errno.EPERM, b"second"), (errno.EEXIST, b"first")])
def test_a_new_file_where_links_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, text: bytes) -> None:
    """A disk without hard links can't tell. NFS may make a link, lose the answer and try again."""
    folder, link = Folder(str(tmp_path)), os.link
    folder.write("a" if number == errno.EPERM else "b", b"first")

    def fail(one: Path, other: Path) -> None:
        if number == errno.EEXIST:
            link(one, other)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", fail)
    folder.write_new("a", b"second" if number == errno.EPERM else b"first")
    assert folder.read("a") == text
    assert not [name for name in files(tmp_path) if ".tmp-" in name]


def test_temporary_files_are_listed_by_their_prefix(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    for name in (".tmp-run-1.json", ".tmp-turn-1.json", "a"):
        folder.write(name, b"")
    assert (folder.list_files("", ".tmp-run-"), folder.list_files()) == ([".tmp-run-1.json"], ["a"])
