"""Workers import modules from where the command does, not from the folder that it happens to run in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cluster.ray_internals import make_job_config
from tests.conftest import REPOSITORY

SCRIPT = """
import importlib.util
from pipelines.cluster.runner import Runner
from pipelines.recipes.base import RunOptions

def has_theirs(unit):
    return importlib.util.find_spec("theirs") is not None

print(list(Runner.open(RunOptions(workers=2)).map(has_theirs, [1, 2])))
"""


def test_only_folders_on_this_process_s_path_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder] + [str(REPOSITORY)])
    config = make_job_config()
    config._py_driver_sys_path.extend([str(tmp_path), str(REPOSITORY)])
    assert list(config._get_proto_job_config().py_driver_sys_path) == [str(REPOSITORY)]
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    config._py_driver_sys_path.extend([str(tmp_path)])
    assert config._py_driver_sys_path == [str(REPOSITORY), str(tmp_path)]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize(("flags", "found"), [(["-P"], False), ([], True)])
def test_workers_search_the_working_folder_only_if_the_driver_does(
    tmp_path: Path, flags: list[str], found: bool
) -> None:
    """As in a data set's folder with a `polars.py`. Python itself searches it for `-c` and `-m`, but not with `-P`."""
    (tmp_path / "theirs.py").touch()
    done = subprocess.run(
        [sys.executable, *flags, "-c", SCRIPT],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"{[found, found]}\n", done.stderr
