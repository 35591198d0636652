"""What a worker's process loads: on a cluster, thousands of them do."""

import subprocess
import sys

from tests.conftest import REPOSITORY

LOADED = """
import sys, ray.data, pipelines.annotate.reader, pipelines.annotate.worker
print(sorted({"polars", "rich", "typer", "torch", "pipelines.annotate.run"} & sys.modules.keys()))
"""


def test_a_worker_loads_nothing_of_the_driver() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
