"""The whole of `shardloom demo` on an object store that spoils one answer in ten, after one that refuses for good."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from schemas.output_set.layout import MANIFESTS, PARTS
from schemas.storage.options import OPTIONS_VARIABLE
from tests.conftest import REPOSITORY
from tests.pipelines.support.drivers import hashes, without_progress
from tests.support.s3.bucket import Bucket
from tests.support.s3.faults import KINDS, Request, one_in_ten
from tests.support.s3.watch import half_written, watched

HASTY = json.dumps({"retry_seconds": 120, "config_kwargs": {"read_timeout": 2}})  # less than what the proxy's delay is
ON_DISK = ("model/checkpoints/", "model/metrics.jsonl", "model/recipe.yaml")  # of the training, which needs a disk


def run_demo(output: str, cache: Path) -> "subprocess.CompletedProcess[str]":
    size = ["--pictures", "24", "--workers", "1", "--steps", "2"]
    return subprocess.run(
        [sys.executable, "-m", "pipelines.demo", "--output", output, *size],
        cwd=REPOSITORY,
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},  # the trainer's tables of what it has read
        capture_output=True,
        text=True,
    )


def figures(printed: str) -> list[str]:
    """What is said of the results, but for the rate at which they came."""
    lines = [re.sub(r"; [\d.]+ images/s$", "", line) for line in printed.splitlines()]
    return [line for line in lines if re.match(r"(text|boxes|\w[\w ]*: [\d,]+ in, )", line)]


def puts(bucket: Bucket) -> list[Request]:
    return [request for request in bucket.proxy.requests if request.method == "PUT"]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_the_whole_demo(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk = run_demo(f"{tmp_path}/demo", tmp_path / "one")
    assert on_disk.returncode == 0, on_disk.stderr

    url = f"{bucket.url}/demo"
    part = f"/demo/annotations/{PARTS}/"  # once the first is there, nothing more is granted
    bucket.proxy.restart(lambda _: "refuse" if any(part in one.path for one in puts(bucket)) else None)
    with watched(bucket, url):
        refused = run_demo(url, tmp_path / "two")
    line = rf"error: cannot (read|write|list|remove) {url}/\S+: (AccessDenied: No\.|Forbidden)"
    said = without_progress(refused.stderr).splitlines()
    assert refused.returncode == 1, refused.stderr
    assert len(said) == 1, said
    assert re.fullmatch(line, said[0]), said
    assert refused.stdout.count("\n") == 1, "it got as far as its pictures"

    bucket.proxy.restart(one_in_ten)
    bucket.proxy.delay = 3
    monkeypatch.setenv(OPTIONS_VARIABLE, HASTY)
    with watched(bucket, url) as seen:
        finished = run_demo(url, tmp_path / "three")
    assert finished.returncode == 0, finished.stderr
    faults = Counter(request.fault for request in bucket.proxy.requests if request.fault)
    print(f"{len(bucket.proxy.requests)} requests, spoilt: {dict(faults)}")
    assert set(faults) == set(KINDS), faults
    assert figures(finished.stdout) == figures(on_disk.stdout)
    assert len(figures(finished.stdout)) == 9, finished.stdout

    wanted = {name: sha256 for name, sha256 in hashes(tmp_path / "demo").items() if not name.startswith(ON_DISK)}
    found = bucket.store.hashes(url)
    assert set(found) == set(wanted)
    assert half_written(bucket.store.objects(url)) == []
    differing = {name for name in wanted if found[name] != wanted[name]}
    assert all(f"/{MANIFESTS}/" in name or name.endswith("/recipe.yaml") for name in differing), differing
    # nothing else than that was ever there, but for parts, and marks of what is not through
    others = {(name, sha256) for name, sha256 in seen if name in wanted} - set(found.items())
    assert others == set()
