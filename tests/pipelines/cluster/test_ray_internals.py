"""Tests that what two files use of Ray's internals is still there, and that no other file uses any."""

import ast
import importlib
import inspect
import mmap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from pipelines.cluster import ray_internals
from tests.conftest import REPOSITORY

OURS = [REPOSITORY / "pipelines/cluster" / f"{name}.py" for name in ("ray_internals", "ray_data_internals")]
OTHERS = [
    path
    for package in ("schemas", "curation", "pipelines", "training")
    for path in sorted((REPOSITORY / package).rglob("*.py"))
    if path not in OURS
]
SWITCHES = [
    ray_internals.ENABLE_AUTO_CONNECT,
    ray_internals.NATIVE_LOG_LEVEL,
    ray_internals.OVERRIDE_JOB_RUNTIME_ENV,
    ray_internals.COLOR_PREFIX,
    ray_internals.LOG_RETRIED_ERRORS,
    *ray_internals.IDLE_SETTINGS,
]
MEMBERS = [  # of classes and modules, where an import tells nothing of them
    ("ray.data.dataset", "Dataset", "def iter_internal_ref_bundles("),
    ("ray.data.context", "DataContext", "custom_execution_callback_classes:"),
    ("ray.data._internal.execution.interfaces.ref_bundle", "RefBundle", "def block_refs("),
    ("ray.data._internal.execution.execution_callback", "ExecutionCallback", "def on_execution_step("),
    ("ray.data._internal.execution.streaming_executor", "StreamingExecutor", "self._topology"),
    ("ray.data._internal.execution.operators.map_operator", "MapOperator", "self._output_blocks_stats"),
    ("ray.data._internal.execution", "streaming_executor_state", "timeout=WAIT_FOR_TASK_COMPLETION_TIMEOUT_S"),
    ("ray.data._internal.execution.streaming_executor", "StreamingExecutor", "= create_cluster_autoscaler("),
    ("ray.data._internal.cluster_autoscaler", "ClusterAutoscaler", "def get_total_resources(self)"),
    ("ray.data._internal.cluster_autoscaler", "ClusterAutoscaler", "def try_trigger_scaling(self)"),
    ("ray.data._internal.cluster_autoscaler", "ClusterAutoscaler", "def on_executor_shutdown(self)"),
    ("ray.data._internal.execution", "streaming_executor_state", "time.sleep(0.01)"),
    ("ray.data._internal.execution", "streaming_executor", "_StatsManager.register_dataset_to_stats_actor("),
    ("ray.data._internal.execution", "streaming_executor", "_StatsManager.update_execution_metrics("),
    ("ray.data.dataset", "Dataset", "_StatsManager.gen_dataset_id_from_stats_actor()"),
    ("ray.data._internal.execution.operators", "actor_pool_map_operator", "=get_or_create_actor_location_tracker()"),
    ("ray.data._internal.execution.operators", "actor_pool_map_operator", "= get_actor_locations("),
    (
        "ray.data._internal.execution.operators",
        "actor_pool_map_operator",
        "actor_location_tracker.update_actor_location.remote(",
    ),
    ("ray.data._internal.execution.interfaces.op_runtime_metrics", "OpRuntimeMetrics", "num_tasks_submitted: int"),
    (
        "ray.data._internal.execution.interfaces.op_runtime_metrics",
        "OpRuntimeMetrics",
        "num_task_outputs_generated: int",
    ),
    ("ray._private.node", "Node", "def start_monitor("),
    ("ray._private.node", "Node", "def start_log_monitor("),
    ("ray._private.node", "Node", "def start_api_server("),
    ("ray._private", "services", "if not ray_constants.ENABLE_RAY_CLUSTER:"),
    ("ray._private", "ray_logging", "if not RAY_DEDUP_LOGS:"),
    ("ray._private", "worker", 'kwargs.pop("_temp_dir"'),
    ("ray.core.generated.gcs_service_pb2_grpc", "NodeInfoGcsServiceStub", f"'{ray_internals.HEAD_METHOD}'"),
    ("ray._private", "worker", "job_config._py_driver_sys_path.extend(code_paths)"),
    ("ray._private.runtime_env.packaging", "pin_runtime_env_uri", "expiration_s"),
    ("ray._private.runtime_env.py_modules", "upload_py_modules_if_needed", "include_gitignore"),
]


def imports_of(path: Path) -> Iterator[tuple[str, str]]:
    """Module and name of each import; an empty name for a whole module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from ((node.module, alias.name) for alias in node.names)


def looked_up(module: str, name: str) -> Any:
    """What an import gives: an attribute of the module, or a module below it."""
    found = importlib.import_module(module)
    return getattr(found, name) if hasattr(found, name) else importlib.import_module(f"{module}.{name}")


def is_private(module: str, name: str) -> bool:
    parts = [*module.split("."), name]
    return parts[0] == "ray" and ("experimental" in parts or any(part.startswith("_") for part in parts))


def words_of(path: Path) -> Iterator[str]:
    """Strings and attributes of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Attribute):
            yield node.attr


@pytest.mark.parametrize(("module", "name"), sorted(i for path in OURS for i in imports_of(path) if is_private(*i)))
def test_each_import_is_still_there(module: str, name: str) -> None:
    assert looked_up(module, name) is not None


@pytest.mark.parametrize(("module", "owner", "member"), MEMBERS)
def test_each_member_is_still_there(module: str, owner: str, member: str) -> None:
    assert member in inspect.getsource(looked_up(module, owner))


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_switch_is_still_there(switch: str) -> None:
    """In Ray's Python where it is read there, else in its native code, which adds the prefix to options of its own."""
    installed = Path(ray.__file__).parent
    if any(switch in path.read_text() for path in (installed / "_private").glob("*.py")):
        return
    with (installed / "_raylet.so").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as code:
        assert code.find(switch.encode()) >= 0 or code.find(switch.removeprefix("RAY_").encode()) >= 0


def test_no_other_file_imports_internals() -> None:
    found = {str(path): [i for i in imports_of(path) if is_private(*i)] for path in OTHERS}
    assert {path: imports for path, imports in found.items() if imports} == {}


def test_no_other_file_names_internals() -> None:
    forbidden = {*SWITCHES, "iter_internal_ref_bundles", "_private", "_internal"}
    found = {str(path): forbidden.intersection(words_of(path)) for path in OTHERS}
    assert {path: words for path, words in found.items() if words} == {}


def test_the_tested_versions_are_those_that_are_installed() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    pin = f"ray[data,default]>={ray_internals.TESTED_FROM},<{ray_internals.TESTED_BELOW}"
    assert pin in project["dependencies"]
    versions = (ray_internals.TESTED_FROM, ray.__version__, ray_internals.TESTED_BELOW)
    first, here, below = ([int(number) for number in version.split(".")[:2]] for version in versions)
    assert first <= here < below
