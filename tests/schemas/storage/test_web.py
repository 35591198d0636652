"""Files on web servers are inputs as any others are; what a server refuses is one line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.errors import StorageError, UsageError
from schemas.storage.folder import Folder, split_path
from schemas.storage.local_copy import open_local_copy
from schemas.storage.options import OPTIONS_VARIABLE
from schemas.storage.path_patterns import list_matching_sizes
from tests.schemas.support.web_files import served_files

DATA = bytes(range(256)) * 1000


@pytest.fixture(params=[True, False], ids=["parts", "whole files"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    (tmp_path / "below").mkdir()
    (tmp_path / "below/a.tar").write_bytes(DATA)
    (tmp_path / "below/b.tar").write_bytes(b"b")
    with served_files(tmp_path, request.param) as address:
        yield address


def test_files_are_found_and_read(server: str) -> None:
    sizes = {f"{server}/below/a.tar": len(DATA), f"{server}/below/b.tar": 1}
    assert list_matching_sizes(f"{server}/below/*.tar") == sizes
    assert list_matching_sizes(f"{server}/below/{{a,b}}.tar") == sizes
    assert list_matching_sizes(f"{server}/below/b.tar") == {f"{server}/below/b.tar": 1}
    folder, name = split_path(f"{server}/below/a.tar")
    assert (folder.get_size(name), folder.read(name), folder.read_range(name, 300, 310)) == (
        *(len(DATA), DATA, DATA[300:310]),
    )
    with folder.open(name) as file:
        file.seek(1000)
        assert file.read(10) == DATA[1000:1010]
        file.seek(0)
        assert file.read() == DATA
    with open_local_copy(folder, name) as path:
        assert path.read_bytes() == DATA
    assert (folder.exists(name), folder.exists("c.tar"), folder.list_files()) == (True, False, ["a.tar", "b.tar"])


def test_refusals_are_one_line(server: str) -> None:
    with pytest.raises(StorageError, match=rf"^cannot read {server}/below/c.tar: No such file or directory$"):
        Folder(f"{server}/below").read("c.tar")
    with pytest.raises(StorageError, match=rf"^cannot read {server}/code/500: 500, message='Internal"):
        Folder(f"{server}/code").read("500")
    with pytest.raises(StorageError, match=rf"^cannot read {server}/code/403: 403, message='Forbidden'"):
        Folder(f"{server}/code").read("403")
    with pytest.raises(UsageError, match=rf"^no file matches {server}/below/c\*$"):
        list_matching_sizes(f"{server}/below/c*")
    with pytest.raises(UsageError, match=rf"^{server}/out: a web server cannot store output: give a path"):
        Folder(f"{server}/out").check_output()


def test_an_option_that_no_web_server_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec hands it on, to where it is refused only when it is used."""
    monkeypatch.setenv(OPTIONS_VARIABLE, '{"retry_seconds": 3}')
    with pytest.raises(
        UsageError, match=r"^http://127\.0\.0\.1:9/x: it does not accept this --storage-option: .*'retry_seconds'$"
    ):
        Folder("http://127.0.0.1:9/x").read("a.tar")
