"""Work that no worker begins ends the run; work that takes long does not."""

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.pipelines.support.drivers import NO_TOKEN, TIMEOUT, cluster_of

SCRIPT = """
import sys, time
from pipelines.recipes.base import RunOptions
from pipelines.cluster.runner import Runner
from schemas.errors import ShardloomError

def slowly(seconds):
    time.sleep(seconds)
    return seconds

def run(units, stall_seconds):
    return sorted(Runner.open(RunOptions(address=sys.argv[1], stall_seconds=stall_seconds)).map(slowly, units))

print(run([0, 1], 1e9), run([9], 4))  # the worker is up when the limit counts
import ray

@ray.remote(num_cpus=1)
class Other:
    def ready(self):
        pass

other = Other.remote()
ray.get(other.ready.remote())
try:
    run([0], 4)
except ShardloomError as error:
    print(error)
from ray.experimental.internal_kv import _internal_kv_list
print(_internal_kv_list("", namespace="shardloom"))
"""


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_a_cluster_without_a_free_cpu_ends_the_run_and_a_long_unit_does_not() -> None:
    with cluster_of(cpus=1) as address:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, address],
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | NO_TOKEN,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "[0, 1] [9]",
        "no progress for 4 s: no worker has started (are there CPUs left on the cluster?); finished work is kept; "
        "the same command resumes the run",
        "[]",
    ]
