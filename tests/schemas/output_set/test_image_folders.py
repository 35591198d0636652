"""Where the image tars of a set by reference are found, and where nobody looks for them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.errors import UsageError
from schemas.output_set.image_folders import (
    ImageFolder,
    describe_folders,
    locate_folders,
    locate_tar,
    make_tar_path,
    parse_places,
)
from schemas.storage.folder import Folder


def located(output: Path | str, folder: ImageFolder, **places: str) -> str:
    return locate_folders(Folder(str(output)), [folder], places)[folder.path]


def test_a_set_records_both_ways_to_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tars = [make_tar_path(path) for path in ("images/b/1.tar", "images/a/../a/0.tar", f"file://{tmp_path}/0.tar")]
    assert tars == [f"{tmp_path}/images/b/1.tar", f"{tmp_path}/images/a/0.tar", f"{tmp_path}/0.tar"]
    far = make_tar_path("https://me:secret@host/x/0.tar")
    assert far == "https://***@host/x/0.tar"
    assert describe_folders([*tars, tars[0], far], Folder("sets/out")) == [
        ImageFolder(path=str(tmp_path), from_set="../.."),
        ImageFolder(path=f"{tmp_path}/images/a", from_set="../../images/a"),
        ImageFolder(path=f"{tmp_path}/images/b", from_set="../../images/b"),
        ImageFolder(path="https://***@host/x"),
    ]
    assert describe_folders(tars[:1], Folder("memory://sets/out")) == [ImageFolder(path=f"{tmp_path}/images/b")]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:secret@host/x/0.tar?signature=secret", "https://***@host/x/0.tar?***"),
        ("https://host/get?file=/0.tar", "https://host/get?***"),
        ("https://host/0.tar?v=1#part", "https://host/0.tar?***#part"),
        ("s3://bucket/x/0.tar?versionId=7", "s3://bucket/x/0.tar?***"),
    ],
)
def test_a_query_is_not_stored(url: str, shown: str) -> None:
    """The tar would not be found without it."""
    with pytest.raises(UsageError) as error:
        make_tar_path(url)
    assert str(error.value) == (
        f"{shown}: a set by reference stores no query of a URL, because it may be a secret: give URLs without one, "
        "copy the tars first, or leave out by_reference"
    )


def test_a_set_that_was_moved_alone_or_with_its_images(tmp_path: Path) -> None:
    images, output = tmp_path / "images", tmp_path / "sets/out"
    images.mkdir()
    output.mkdir(parents=True)
    (recorded,) = describe_folders([f"{images}/0.tar"], Folder(str(output)))
    assert located(output, recorded) == str(images)
    assert located(output.rename(tmp_path / "out"), recorded) == str(images)
    (tmp_path / "other/sets").mkdir(parents=True)
    moved = images.rename(tmp_path / "other/images")
    assert located((tmp_path / "out").rename(tmp_path / "other/sets/out"), recorded) == str(moved)
    moved.rename(tmp_path / "elsewhere")
    where = tmp_path / "other/sets/out"
    with pytest.raises(UsageError) as error:
        located(where, recorded)
    assert str(error.value) == (
        f"{where}: its images were in {images}, which is not there now: pass --images {images}=FOLDER, or in a recipe "
        f"images (a trainer's data.images): {{{images}: FOLDER}}"
    )
    assert located(where, recorded, **{str(images): f"{tmp_path}/elsewhere/"}) == f"{tmp_path}/elsewhere"


def test_the_longest_name_that_is_given_counts() -> None:
    folder = ImageFolder(path="/data/crawl/2024")
    places = {"/data": "/new", "/data/crawl": "s3://bucket/crawl", "/data/crawl/20": "/no", "/other": "/no"}
    assert located("/set", folder, **places) == "s3://bucket/crawl/2024"


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/x", "https://host/x", "file:///etc", "ftp://host/x", "memory://x", "hdfs://h/x"]
)
def test_no_server_that_only_the_set_names_is_asked(url: str) -> None:
    folder = ImageFolder(path=url)
    for output in ("/set", "s3://bucket/set", "https://other/set"):
        with pytest.raises(UsageError) as error:
            located(output, folder)
        assert str(error.value) == (
            f"{output}: its images are at {url}, a server that only the set names: to have it asked, pass --images "
            f"{url}={url}, or in a recipe images (a trainer's data.images): {{{url}: {url}}}"
        )
        assert located(output, folder, **{url: url}) == url


def test_servers_that_the_user_names() -> None:
    for url in ("s3://bucket/x", "s3a://bucket/x", "gs://bucket/x", "gcs://bucket/x"):
        assert located("/set", ImageFolder(path=url)) == url
    assert located("https://host/sets/one", ImageFolder(path="https://host/x")) == "https://host/x"


@pytest.mark.parametrize(
    "path", ["images", "../images", "/a/../b", "/a/./b", "s3://bucket/../x", "simplecache::file:///etc", "", "/a\0"]
)
def test_a_manifest_with_another_path_is_damaged(path: str) -> None:
    with pytest.raises(ValidationError, match="is not an absolute path or a URL"):
        ImageFolder(path=path)


def test_a_path_from_the_set_is_relative() -> None:
    for path in ("/etc", "a\0"):
        with pytest.raises(ValidationError, match="is not a relative path"):
            ImageFolder(path="/images", from_set=path)


def test_a_tar_is_in_a_folder_of_the_manifest() -> None:
    folders = {"/images": "/new/", "https://h/x": "https://h/x", "/": "/"}
    assert locate_tar("/images/0.tar", folders) == "/new/0.tar"
    assert locate_tar("https://h/x/0.tar?***", folders) == "https://h/x/0.tar", "as older versions wrote it"
    assert locate_tar("/0.tar", folders) == "/0.tar"
    assert locate_tar("/images/which?.tar", folders) == "/new/which?.tar"
    assert locate_tar("s3://b/x/which?.tar", {"s3://b/x": "s3://b/y"}) == "s3://b/y/which?.tar"
    strays = ("https://h/x/delete?name=a.tar", "HTTPS://h/x/delete?.tar")
    for tar in ("/images/a/0.tar", "/images/../etc/0.tar", "0.tar", "/images/passwd", "/images/", *strays):
        assert locate_tar(tar, folders) is None, tar


def test_places_of_a_command_line() -> None:
    one, two = ImageFolder(path="/data/day=1/images"), ImageFolder(path="/data/day=2")
    assert parse_places(["/new/day=1"], [one, one]) == {one.path: "/new/day=1"}
    given = ["/data/day=1=/new/a=b", "/data/day=2=/two"]
    assert parse_places(given, [one, two]) == {"/data/day=1": "/new/a=b", "/data/day=2": "/two"}
    assert parse_places([], []) == {}
    with pytest.raises(UsageError) as error:
        parse_places(["/new"], [one, two])
    assert str(error.value) == (
        "--images /new: give OLD=NEW; the folders of images that the set names are /data/day=1/images, /data/day=2"
    )
    with pytest.raises(UsageError, match="that the set names are none: it has its images in it"):
        parse_places(["/new"], [])
