"""What is seen in a bucket while others write to it: no commit of what is not there whole."""

import functools
import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.output_set.layout import DATA, INDEX, MANIFESTS, PARTS, QUARANTINE
from schemas.output_set.manifest import Manifest
from tests.support.s3.bucket import Bucket


def is_data(name: str) -> bool:
    """Whether it must be the same wherever it lies: recipes and manifests name their inputs."""
    return any(f"/{below}/" in f"/{name}" for below in (DATA, INDEX, QUARANTINE))


@contextmanager
def watched(bucket: Bucket, url: str) -> Iterator[set[tuple[str, str]]]:
    """Names and hashes of all objects that are ever there; what a manifest names must be, as it says, at all times.

    Looks at all of the store after each change, before whoever made it hears that it is done.
    """
    seen: set[tuple[str, str]] = set()
    faults: list[str] = []
    held: dict[str, bytes] = {}
    lock = threading.Lock()

    def look() -> None:
        with lock:
            objects = bucket.store.objects(url, held)
            seen.update((name, sha256(data)) for name, data in objects.items())
            faults.extend(half_written(objects))

    bucket.proxy.changed = look
    try:
        yield seen
    finally:
        bucket.proxy.changed = lambda: None
    assert faults == []
    assert seen


def half_written(objects: dict[str, bytes]) -> list[str]:
    """What manifests name and is not there as they say; parts that are not whole."""
    faults = []
    for name, data in objects.items():
        if f"{MANIFESTS}/" in name:
            root = name[: name.index(MANIFESTS)]
            for out in Manifest.from_json(data).outputs:
                found = objects.get(root + out.path, b"")
                if (len(found), sha256(found)) != (out.size, out.sha256):
                    faults.append(f"{name}: {out.path}")
        if f"{PARTS}/" in name and name.endswith(".parquet"):
            try:
                pq.read_table(io.BytesIO(data))
            except pa.ArrowInvalid as error:
                faults.append(f"{name}: {error}")
    return faults


@functools.lru_cache(1000)
def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
