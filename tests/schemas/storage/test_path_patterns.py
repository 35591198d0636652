"""Patterns name what a shell's would."""

from pathlib import Path

import pytest

from schemas.errors import UsageError
from schemas.storage.path_patterns import list_matching, list_matching_sizes
from tests.support.s3.bucket import Bucket

NAMES = [
    *("0.tar", "1.tar", "9.tar", "._0.tar", ".DS_Store", ".cache/0.tar", "{0,1}.tar", "sub/2.tar"),
    *("set [v1]/0.tar", "set [v1]/1.tar", "set [v1]/._0.tar", "set [v1]/a/[b]/5.tar", "set v/3.tar", "u{a,b}/4.tar"),
]


@pytest.fixture(params=["disk", "relative", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder with these files, of as many bytes as their names have characters."""
    for name in NAMES:
        if request.param == "bucket":
            bucket.store.put(f"{bucket.url}/in/{name}", name.encode())
        else:
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    return {"disk": f"{tmp_path}/in", "relative": "in", "bucket": f"{bucket.url}/in"}[request.param]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.tar", ["0.tar", "1.tar", "9.tar", "{0,1}.tar"]),
        (
            "**/*.tar",
            [name for name in NAMES if name.endswith(".tar") and "/." not in name and not name.startswith(".")],
        ),
        (".[D_]*", [".DS_Store", "._0.tar"]),
        (".cache/*", [".cache/0.tar"]),
        ("set [v1]/0.tar", ["set [v1]/0.tar"]),
        ("{0,1}.tar", ["{0,1}.tar"]),  # it is there
        ("{0,9}.tar", ["0.tar", "9.tar"]),
        ("{0..1}.tar", ["0.tar", "1.tar"]),
        ("{0..1}.t*", ["0.tar", "1.tar"]),
        ("._0.tar", ["._0.tar"]),
        ("9*", ["9.tar"]),
        ("s*/[012]*", ["set [v1]/0.tar", "set [v1]/1.tar", "sub/2.tar"]),
    ],
)
def test_what_is_named(place: str, pattern: str, names: list[str]) -> None:
    assert list_matching_sizes(f"{place}/{pattern}") == {f"{place}/{name}": len(name) for name in names}


def test_a_folder_that_exists_is_no_pattern(place: str) -> None:
    """`set [v1]` is the pattern of `set v` as well."""
    for pattern, names in {
        "set [v1]/*.tar": ["set [v1]/0.tar", "set [v1]/1.tar"],
        "set [v1]/{0..1}.tar": ["set [v1]/0.tar", "set [v1]/1.tar"],
        "set [v1]/*/[[]b]/*": ["set [v1]/a/[b]/5.tar"],
        "set [v1]/a/[b]/[5].tar": ["set [v1]/a/[b]/5.tar"],
        "set [v1]/**/*.tar": ["set [v1]/0.tar", "set [v1]/1.tar", "set [v1]/a/[b]/5.tar"],
        "{set [v1],sub}/[02].tar": ["set [v1]/0.tar", "sub/2.tar"],
        "u{a,b}/*.tar": ["u{a,b}/4.tar"],
        "u{a,b}/{4..4}.tar": ["u{a,b}/4.tar"],
        "set [uv]/*.tar": ["set v/3.tar"],
    }.items():
        assert list_matching_sizes(f"{place}/{pattern}") == {f"{place}/{name}": len(name) for name in names}
    assert list_matching(f"{place}/set [v1]") == list_matching(f"{place}/set [v1]/") == [f"{place}/set [v1]"]
    with pytest.raises(UsageError, match=r"^no file matches .*in/set \[v1\]/3\.tar$"):
        list_matching(f"{place}/set [v1]/3.tar")


def test_a_working_folder_is_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("set [v1]/0.tar", "set v/1.tar", "a{b,c}/2.tar"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "set [v1]")
    assert list_matching("*.tar") == list_matching("{0..0}.tar") == ["0.tar"]
    monkeypatch.chdir(tmp_path / "a{b,c}")
    assert list_matching("{2..2}.tar") == ["2.tar"]


def test_each_path_of_braces_must_be_there(place: str) -> None:
    with pytest.raises(UsageError) as error:
        list_matching(f"{place}/{{0..3}}.tar")
    assert str(error.value) == f"no file matches {place}/2.tar"


def test_braces_are_bounded(place: str) -> None:
    with pytest.raises(UsageError, match=r"its braces expand to more than 1,000,000 paths: use a glob$"):
        list_matching(f"{place}/{{0..9999999}}.tar")


def test_a_brace_that_is_open_is_a_character(place: str) -> None:
    with pytest.raises(UsageError, match=r"^no file matches .*in/\{0\.tar$"):
        list_matching(f"{place}/{{0.tar")


@pytest.mark.parametrize("pattern", ["*.tar", "9*", "**/*.tar"])
def test_a_listing_that_is_refused_is_not_an_empty_one(bucket: Bucket, pattern: str) -> None:
    bucket.store.put(f"{bucket.url}/in/9.tar", b"")
    bucket.proxy.faults = lambda _: "refuse"
    with pytest.raises(UsageError, match=rf"^cannot list {bucket.url}/in/.*(AccessDenied|Forbidden)"):
        list_matching(f"{bucket.url}/in/{pattern}")
