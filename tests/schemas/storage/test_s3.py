"""On an object store: the requests that are made, conditions, listings; and what throttles, resets and cuts do."""

import hashlib
import itertools
import json
import os
import pickle
import random
from collections.abc import Iterator

import pytest

from schemas.errors import StorageError, UsageError
from schemas.storage.folder import READ_BYTES, AlreadyWritten, Folder
from schemas.storage.options import OPTIONS_VARIABLE, use_options
from schemas.storage.path_patterns import list_matching, list_matching_sizes
from tests.support.s3.bucket import Bucket
from tests.support.s3.faults import KINDS

# so that a busy machine is not a fault of the store
PATIENCE = {"retry_seconds": 60, "config_kwargs": {"read_timeout": 60}}
HASTY = PATIENCE | {"config_kwargs": {"read_timeout": 3}}  # less than what the proxy's delay is here


@pytest.fixture
def fault(request: pytest.FixtureRequest, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is done to requests; options that are right for it. The bucket comes first, for it clears options."""
    bucket.proxy.delay = 4
    monkeypatch.setenv(OPTIONS_VARIABLE, json.dumps(HASTY if request.param == "delay" else PATIENCE))
    return str(request.param)


def some_bytes(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def test_what_is_written_is_read(bucket: Bucket) -> None:
    folder = pickle.loads(pickle.dumps(Folder(f"{bucket.url}/out/")))  # noqa: S301  our own bytes
    assert not folder.exists()
    assert folder.list_files("data") == []
    folder.write("data/a", b"one")
    folder.write("data/a", b"three")
    with folder.create("data/b") as file:
        file.write(b"t")
        file.write(b"wo")
    assert (folder.read("data/a"), folder.read("data/b"), folder.get_size("data/a")) == (b"three", b"two", 5)
    assert folder.read_range("data/a", 1, 4) == b"hre"
    assert (folder.list_files("data"), folder.list_files()) == (["a", "b"], [])
    assert (folder.exists("data/a"), folder.exists("data"), folder.exists("data/c")) == (True, True, False)
    assert folder.hash_file("data/b") == (3, hashlib.sha256(b"two").hexdigest())
    folder.remove("data/a")
    folder.remove("data/a")
    assert folder.list_files("data") == ["b"]
    folder.clear("data")
    folder.clear("data")
    assert bucket.store.objects(bucket.url) == {}


def test_the_name_of_a_folder_is_no_pattern(bucket: Bucket) -> None:
    """`set [v1]` is the pattern of `set v`, whose files fsspec would remove."""
    for name in ("set [v1]", "set v"):
        Folder(f"{bucket.url}/{name}").write("parts/a", b"")
    Folder(f"{bucket.url}/set [v1]").clear("parts")
    Folder(f"{bucket.url}/set [v1]").clear("parts")
    assert list(bucket.store.objects(bucket.url)) == ["set v/parts/a"]


def test_an_error_in_the_middle_sends_nothing(bucket: Bucket) -> None:
    folder = Folder(bucket.url)
    folder.write("a", b"old")
    bucket.proxy.restart()
    with pytest.raises(ZeroDivisionError), folder.create("a") as file:
        file.writelines(bytes(1_000_000 // left) for left in (2, 1, 0))
    assert bucket.proxy.requests == []
    assert bucket.store.objects(bucket.url) == {"a": b"old"}


def test_requests(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for a small file, whatever is done; 8 MiB at once of a large one; parts of those above two of them."""
    folder = Folder(f"{bucket.url}/out")
    folder.write("small", b"1")
    folder.read("small")
    folder.get_size("small")
    folder.list_files()
    folder.write_new("new", b"1")
    folder.remove("new")
    methods = [request.method for request in bucket.proxy.requests]
    assert methods == ["PUT", "GET", "HEAD", "GET", "PUT", "DELETE"]

    data = some_bytes((16 << 20) + 1)
    with folder.create("shard") as file:
        file.write(data)
    assert len(bucket.proxy.seen("PUT", "/out/shard")) == 1
    bucket.proxy.restart()
    with folder.open("shard") as file:
        pieces = list(iter(lambda: file.read(1000), b""))
    assert b"".join(pieces) == data
    ranges = [request.range for request in bucket.proxy.requests]
    assert ranges == [None, "bytes=0-8388607", "bytes=8388608-16777215", "bytes=16777216-25165823"]

    larger = data[: 11 << 20]
    monkeypatch.setattr("schemas.storage.s3.PART_BYTES", 5 << 20)
    bucket.proxy.restart()
    with folder.create("larger") as file:
        file.write(larger)
    methods = [request.method for request in bucket.proxy.requests]
    assert methods == ["POST", "PUT", "PUT", "PUT", "POST"]
    assert folder.hash_file("larger") == (len(larger), hashlib.sha256(larger).hexdigest())


def test_lists_of_many_pages(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "7")
    for number in range(30):
        bucket.store.put(f"{bucket.url}/shards/{number:04d}.tar", bytes(number))
    bucket.store.put(f"{bucket.url}/shards/", b"")  # as consoles make folders
    bucket.store.put(f"{bucket.url}/shards/below/0.tar", b"")
    names = [f"{number:04d}.tar" for number in range(30)]
    assert Folder(f"{bucket.url}/shards").list_files() == names
    assert len(bucket.proxy.seen("GET", "list-type=2")) == 5
    bucket.proxy.restart()
    assert list_matching_sizes(f"{bucket.url}/shards/*.tar") == {
        f"{bucket.url}/shards/{name}": number for number, name in enumerate(names)
    }
    assert bucket.proxy.seen("HEAD", ".tar") == []
    assert len(list_matching(f"{bucket.url}/**/*.tar")) == 31
    assert list_matching_sizes(f"{bucket.url}/shards/0003.tar") == {f"{bucket.url}/shards/0003.tar": 3}
    Folder(bucket.url).clear("shards")
    assert bucket.store.objects(bucket.url) == {}


def test_what_another_has_put_there_stays(bucket: Bucket) -> None:
    folder = Folder(bucket.url)
    folder.write_new("manifests/0.json", b"first")
    with pytest.raises(StorageError) as error:
        Folder(bucket.url).write_new("manifests/0.json", b"first")
    assert str(error.value) == (
        f"{bucket.url}/manifests/0.json already exists: another run is writing to this output; wait for it, or stop it "
        "and rerun this command"
    )
    assert folder.read("manifests/0.json") == b"first"


def test_a_store_without_conditions(bucket: Bucket) -> None:
    folder = Folder(bucket.url)
    bucket.proxy.restart(lambda number: "unknown" if number == 0 else None)
    folder.write_new("a", b"1")
    assert [request.fault for request in bucket.proxy.requests] == ["unknown", None]
    assert bucket.store.objects(bucket.url) == {"a": b"1"}


@pytest.mark.parametrize("fault", KINDS, indirect=True)
def test_every_request_is_tried_again(bucket: Bucket, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each operation with a fault in its first request, in its second, and so on up to its last.

    It is sent once more, and nothing else is; a new object whose answer was lost is read, to see whose it is.
    """
    monkeypatch.setattr("schemas.storage.s3.PART_BYTES", 5 << 20)
    folder = Folder(f"{bucket.url}/out")
    folder.write("read", b"some bytes")
    large = some_bytes(11 << 20)

    def upload() -> None:
        with folder.create("large") as file:
            file.write(large)

    operations = {
        "write": (lambda: folder.write("a", b"1"), 1),
        "new": (lambda: folder.write_new(f"new-{len(bucket.proxy.requests)}", b"1"), 1),
        "read": (lambda: folder.read("read"), 1),
        "range": (lambda: folder.read_range("read", 2, 5), 1),
        "size": (lambda: folder.get_size("read"), 1),
        "names": (lambda: folder.list_files(), 1),
        "exists": (lambda: folder.exists("nothing"), 2),
        "remove": (lambda: folder.remove("a"), 1),
        "glob": (lambda: list_matching(f"{bucket.url}/out/*"), 4),
    }
    if fault == "delay":  # three seconds each, and handled like the others; below is one that writes
        operations = {"read": operations["read"]}
    else:
        operations["upload"] = (upload, 5)
    for name, (operation, requests) in operations.items():
        for at in range(requests):
            bucket.proxy.restart(lambda number, at=at: fault if number == at else None)
            operation()
            again = [request.fault for request in bucket.proxy.requests]
            assert fault in again, name
            assert len(again) == requests + (2 if name == "new" and fault in ("cut", "lost") else 1), name
            assert folder.read("read") == b"some bytes"
            if name == "upload":
                assert folder.hash_file("large") == (len(large), hashlib.sha256(large).hexdigest())
    begun = bucket.store.client.list_multipart_uploads(Bucket=bucket.url[5:]).get("Uploads", [])
    assert len(begun) == (1 if fault in ("cut", "lost") else 0)  # one whose name was lost with its answer


@pytest.mark.parametrize("fault", ["reset", "cut", "throttle"], indirect=True)
def test_a_streamed_read_goes_on_where_it_was(bucket: Bucket, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.storage.folder.READ_BYTES", 100_000)
    folder = Folder(bucket.url)
    data = some_bytes(500_077)
    bucket.store.put(f"{bucket.url}/shard.tar", data)
    bucket.proxy.restart(lambda number: fault if number % 3 == 2 else None)
    with folder.open("shard.tar") as file:
        assert b"".join(iter(lambda: file.read(7000), b"")) == data
    ranges = [request.range for request in bucket.proxy.requests if request.range]
    assert [len(list(same)) for _, same in itertools.groupby(ranges)] == [1, 2, 1, 2, 1, 2]
    assert len(set(ranges)) == 6


@pytest.mark.parametrize("fault", ["lost", "delay"], indirect=True)
def test_a_lost_answer_is_no_other_writer(bucket: Bucket, fault: str) -> None:
    """The store has put the file there, and its answer doesn't come: the second try is refused."""
    folder = Folder(bucket.url)
    bucket.proxy.restart(lambda number: fault if number == 0 else None)
    folder.write_new("a", b"mine")
    requests = [(request.method, request.fault) for request in bucket.proxy.requests]
    assert requests[:2] == [("PUT", fault), ("PUT", None)]
    assert requests[-1] == ("HEAD", None)
    assert bucket.store.objects(bucket.url) == {"a": b"mine"}


def test_a_lost_answer_while_another_writes(bucket: Bucket) -> None:
    folder = Folder(bucket.url)
    bucket.store.put(f"{bucket.url}/a", b"theirs")
    bucket.proxy.restart(lambda number: "reset" if number == 0 else None)
    with pytest.raises(StorageError, match=rf"^{bucket.url}/a already exists: another run"):
        folder.write_new("a", b"mine")
    assert bucket.store.objects(bucket.url) == {"a": b"theirs"}


def test_a_file_that_another_removes_as_it_is_found(bucket: Bucket) -> None:
    """It was there when the condition was checked, and is gone when this process asks who has written it."""
    folder = Folder(bucket.url)
    bucket.store.put(f"{bucket.url}/a", b"theirs")

    def remove_before_the_question(number: int) -> None:
        if number == 1:
            bucket.store.client.delete_object(Bucket=bucket.url.removeprefix("s3://"), Key="a")

    bucket.proxy.restart(remove_before_the_question)
    with pytest.raises(AlreadyWritten):
        folder.write_new("a", b"mine")
    assert [request.method for request in bucket.proxy.requests] == ["PUT", "HEAD"]
    folder.write_new("a", b"mine")
    assert bucket.store.objects(bucket.url) == {"a": b"mine"}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("throttle", r"SlowDown: Please reduce your request rate\. \(tried \d+ times in \d+ s\)"),
        ("reset", r"Could not connect to the endpoint URL.* \(tried \d+ times in \d+ s\)|Connection was closed .*"),
        ("refuse", "AccessDenied: No."),
    ],
)
def test_what_does_not_pass_is_one_line(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, fault: str, reason: str
) -> None:
    monkeypatch.setenv(OPTIONS_VARIABLE, json.dumps(PATIENCE | {"retry_seconds": 0.3}))
    folder = Folder(f"{bucket.url}/out")
    bucket.proxy.restart(lambda _: fault)
    for verb, operation in (
        ("write", lambda: folder.write("a", b"1")),
        ("read", lambda: folder.read("a")),
        ("list", lambda: folder.list_files()),
    ):
        with pytest.raises(StorageError, match=rf"^cannot {verb} {bucket.url}/out(/a)?: ({reason})$") as error:
            operation()
        assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match=rf"^cannot list {bucket.url}/out/\*\.tar: ({reason})$"):
        list_matching(f"{bucket.url}/out/*.tar")
    if fault == "refuse":
        assert len(bucket.proxy.requests) == 4  # nothing is asked for twice


def test_a_file_that_changes_while_it_is_read(bucket: Bucket) -> None:
    bucket.store.put(f"{bucket.url}/a.tar", bytes(2 * READ_BYTES))
    with (  # noqa: PT012
        pytest.raises(StorageError, match=rf"^cannot read {bucket.url}/a.tar: it changed while it was being read$"),
        Folder(bucket.url).open("a.tar") as file,
    ):
        file.read(READ_BYTES)
        bucket.store.put(f"{bucket.url}/a.tar", bytes([1]) * 2 * READ_BYTES)
        file.read(READ_BYTES)


def test_wrong_use(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"^s3://no-such-bucket: there is no such bucket$"):
        Folder("s3://no-such-bucket/out").write("a", b"")
    with pytest.raises(UsageError, match=r"^s3://no-such-bucket: there is no such bucket$"):
        list_matching("s3://no-such-bucket/*.tar")
    with pytest.raises(StorageError, match=rf"^cannot read {bucket.url}/nothing: No such file or directory$"):
        Folder(bucket.url).read("nothing")
    with (
        pytest.raises(StorageError, match=rf"^cannot read {bucket.url}/nothing: No such file or directory$"),
        Folder(bucket.url).open("nothing"),
    ):
        pass
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UsageError, match=r"^S3: The config profile \(nobody\) could not be found: check --storage"):
        fresh(bucket).read("a")
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv(OPTIONS_VARIABLE, json.dumps({"colour": "red"}))
    with pytest.raises(UsageError, match=r"^S3: .*colour.*: check --storage-option"):
        fresh(bucket).read("a")
    monkeypatch.setenv(OPTIONS_VARIABLE, json.dumps({"patience": 60}))
    with pytest.raises(UsageError, match=r"^S3: the storage option patience is now retry_seconds$"):
        fresh(bucket)
    monkeypatch.setenv(OPTIONS_VARIABLE, "[]")
    with pytest.raises(UsageError, match=rf"^{OPTIONS_VARIABLE} is not a JSON object$"):
        fresh(bucket)
    monkeypatch.delenv(OPTIONS_VARIABLE)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StorageError, match=r": no credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET"):
        fresh(bucket).read("a")


def fresh(bucket: Bucket) -> Folder:
    """The bucket, opened anew."""
    from schemas.storage.s3 import RetryingS3

    RetryingS3.clear_instance_cache()
    return Folder(bucket.url)


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Options that a test has set are gone after it."""
    yield
    os.environ.pop(OPTIONS_VARIABLE, None)


@pytest.mark.usefixtures("forgotten")
def test_options(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    use_options([])
    assert OPTIONS_VARIABLE not in os.environ
    use_options(["key=testing", "secret=a=b", f"endpoint_url={bucket.proxy.url}", "retry_seconds=3"])
    use_options(['config_kwargs={"read_timeout": 2}', "secret=testing"])
    assert json.loads(os.environ[OPTIONS_VARIABLE]) == {
        "key": "testing",
        "secret": "testing",
        "endpoint_url": bucket.proxy.url,
        "retry_seconds": 3,
        "config_kwargs": {"read_timeout": 2},
    }
    folder = Folder(bucket.url)
    folder.write("a", b"1")
    assert bucket.store.objects(bucket.url) == {"a": b"1"}
    other = pickle.loads(pickle.dumps(folder))  # noqa: S301  our own bytes
    monkeypatch.delenv(OPTIONS_VARIABLE)
    assert other.read("a") == b"1"
    for wrong in ("key", "=value"):
        with pytest.raises(UsageError, match=rf"^--storage-option: '{wrong}' is not KEY=VALUE$"):
            use_options([wrong])
