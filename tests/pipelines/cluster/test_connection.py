"""Which cluster a run uses: its own, the one at its address, or what its caller uses already."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from pipelines.cluster.connection import connect
from pipelines.cluster.runner import Runner
from pipelines.recipes.base import RunOptions
from schemas.errors import UsageError
from tests.conftest import REPOSITORY
from tests.pipelines.support.drivers import cluster_that_offers

pytestmark = pytest.mark.ray  # beside the tests of the group: it takes what clusters take to start

STORE = 100 << 20


def here() -> str:
    """The cluster in use."""
    return str(ray.get_runtime_context().gcs_address)


def joined(run: RunOptions) -> bool:
    """Whether a run of these options would use a cluster that is not our own."""
    return Runner.open(run, needs_cluster=True).uses_external_cluster


def test_a_run_is_where_it_asks_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with cluster_that_offers("something") as cluster:
        own, joining = RunOptions(workers=1), RunOptions(address=cluster.address)
        connect(own, STORE)
        first = here()
        assert first != cluster.address
        connect(own, STORE)
        assert (here(), joined(own)) == (first, False)
        connect(joining, STORE)
        assert (here(), joined(joining)) == (cluster.address, True)
        assert not joined(own)

        ray.shutdown()
        ray.init(address=cluster.address)
        assert joined(own)
        connect(own, STORE)
        connect(joining, STORE)
        assert here() == cluster.address
        with pytest.raises(UsageError) as error:
            connect(RunOptions(address="10.0.0.1:6379"), STORE)
        assert str(error.value) == f"this process uses Ray at {cluster.address}, and the run asks for 10.0.0.1:6379"


PRIVATE = """
import json, os, ray
from pathlib import Path
from pipelines.cluster.connection import connect
from pipelines.recipes.base import RunOptions

def descendants(pid):
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield child
            yield from descendants(child)

def listening():
    inodes = {}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                inodes[f"socket:[{fields[9]}]"] = fields[1].partition(":")[0]
    held = set()
    for pid in ["self", *descendants(os.getpid())]:
        try:
            held |= {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
        except OSError:
            continue
    return sorted({inodes[link] for link in held if link in inodes})

def scripts():
    # Python files of Ray's that its processes were started with
    words = [word for pid in descendants(os.getpid()) for word in Path(f"/proc/{pid}/cmdline").read_text().split("\\0")]
    return sorted({Path(word).name for word in words if word.endswith(".py")})

connect(RunOptions(workers=1), 100 << 20)
arenas = [ray.get(ray.remote(os.getenv).remote("MALLOC_ARENA_MAX")), os.getenv("MALLOC_ARENA_MAX")]
folder = Path(ray._private.worker._global_node.get_session_dir_path()).parents[1]
token = Path.home() / ".ray/auth_token"
print(json.dumps([str(folder), oct(folder.stat().st_mode), oct(token.stat().st_mode), listening(), scripts(), arenas]))
"""
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1, as the kernel lists it


@pytest.mark.xdist_group("ray")
def test_a_cluster_of_our_own_is_nobody_elses(tmp_path: Path) -> None:
    """On a shared machine: it listens to no other machine, its files are private, and none stays."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", PRIVATE],
        cwd=REPOSITORY,
        env=environment | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    folder, folder_mode, token_mode, listening, scripts, arenas = json.loads(done.stdout)
    assert (folder_mode, token_mode) == ("0o40700", "0o100600")
    assert listening
    assert set(listening) <= LOOPBACK
    assert not Path(folder).exists()
    assert arenas == ["1", None], "workers have the setting, and the caller's process keeps none"
    assert not {"dashboard.py", "log_monitor.py", "monitor.py"} & set(scripts), "they are for clusters that stay"


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_workers_of_a_cluster_of_our_own_are_where_the_run_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or relative paths would be others for them than for the driver."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    run = RunOptions(workers=2)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert list(Runner.open(run).map(lambda _: str(Path.cwd()), [0, 1])) == [str(tmp_path / name)] * 2
