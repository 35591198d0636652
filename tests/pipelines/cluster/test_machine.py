"""What this machine has, where a library that is made here stands in for NVIDIA's driver."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.curation.engines.support.driver import build_driver


def test_gpus_are_counted_without_torch(tmp_path: Path) -> None:
    build_driver(tmp_path, [1 << 30] * 2)
    code = "import sys; from pipelines.cluster.machine import count_gpus; print(count_gpus(), 'torch' in sys.modules)"
    environment = {"LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("2 False\n", "")
