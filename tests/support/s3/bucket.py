"""A bucket for one test, reached through a proxy."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from schemas.storage.options import OPTIONS_VARIABLE
from schemas.storage.s3 import RetryingS3
from tests.support.s3.faults import Proxy, proxy_before
from tests.support.s3.store import KEYS, NO_FILES, Store

NUMBERS = itertools.count()


@dataclass(frozen=True)
class Bucket:
    """Its URL, what it really holds, and the proxy that its users see it through."""

    url: str
    store: Store
    proxy: Proxy


@contextmanager
def fresh_bucket(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """One that is empty. The usual variables lead to it. This process waits only shortly before it tries again."""
    url = store.bucket(f"bucket-{next(NUMBERS)}")
    monkeypatch.setattr("schemas.storage.s3.BACKOFF_BASE", 0.01)
    monkeypatch.delenv(OPTIONS_VARIABLE, raising=False)
    with proxy_before(store.url, faults=lambda _: None) as proxy:
        for name, value in (KEYS | NO_FILES | {"AWS_ENDPOINT_URL": proxy.url}).items():
            monkeypatch.setenv(name, value)
        RetryingS3.clear_instance_cache()  # clients of another test's proxy
        yield Bucket(url, store, proxy)
        RetryingS3.clear_instance_cache()
