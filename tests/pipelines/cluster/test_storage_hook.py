"""Workers are given the options of stores, keys among them, and Ray prints nothing of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from ray import cloudpickle

from pipelines.cluster.connection import connect, make_storage_hook
from pipelines.recipes.base import RunOptions
from schemas.storage.options import OPTIONS_VARIABLE
from tests.pipelines.support.drivers import cluster_that_offers

SECRET = "a-key-that-nobody-prints"
STORAGE = f'{{"key": "AKIA", "secret": "{SECRET}"}}'


def test_a_hook_tells_its_name_alone_and_needs_nothing_of_ours(tmp_path: Path) -> None:
    hook = make_storage_hook(STORAGE)
    assert SECRET not in repr({"worker_process_setup_hook": hook}) + hook.__name__
    program = f"import os, pickle, sys; pickle.load(sys.stdin.buffer)(); print(os.environ[{OPTIONS_VARIABLE!r}])"
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, input=cloudpickle.dumps(hook), cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout.decode().strip() == STORAGE


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_workers_of_a_joined_cluster_have_the_keys_and_its_logs_have_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv(OPTIONS_VARIABLE, raising=False)
    with cluster_that_offers("something") as cluster:  # which knows nothing of our variables
        monkeypatch.setenv(OPTIONS_VARIABLE, STORAGE)
        connect(RunOptions(address=cluster.address), 100 << 20)
        told = ray.get(ray.remote(lambda: os.environ.get(OPTIONS_VARIABLE)).remote())
        logs = Path(ray.worker.global_worker.node.get_session_dir_path())
        found = [path for path in logs.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
        ray.shutdown()
    assert told == STORAGE
    assert found == []
