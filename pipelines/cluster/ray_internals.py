"""Wraps what Shardloom uses of Ray beyond its public interface. No other file imports any of it.

`ray_data_internals` does the same for Ray Data. A release of Ray may rename any of this, so the versions are pinned and
a test looks up each name in the installed Ray. The functions import Ray themselves, because importing it takes longer
than small jobs take to run.
"""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

TESTED_FROM, TESTED_BELOW = "2.60", "2.64"
"""The versions of Ray that this is tested with: the first included, the second excluded."""

IDLE_SETTINGS = {
    "RAY_prestart_worker_first_driver": "0",  # an idle worker takes 0.005 to 0.007 cores
    "RAY_enable_worker_prestart": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_memory_monitor_refresh_ms": "2000",
}
"""What a local cluster's processes do without, each a part of the cores that it takes while it does nothing."""

ENABLE_AUTO_CONNECT = "RAY_ENABLE_AUTO_CONNECT"
NATIVE_LOG_LEVEL = "RAY_BACKEND_LOG_LEVEL"
OVERRIDE_JOB_RUNTIME_ENV = "RAY_OVERRIDE_JOB_RUNTIME_ENV"
COLOR_PREFIX = "RAY_COLOR_PREFIX"
LOG_RETRIED_ERRORS = "RAY_enable_output_error_log_if_still_retry"

HEAD_METHOD = "/ray.rpc.NodeInfoGcsService/CheckAlive"
"""A method of gRPC that a cluster's head has."""

_KEYS = "shardloom"  # namespace in the cluster's own key-value table


def disable_auto_connect() -> None:
    """Keeps Ray from starting a cluster by itself at the first use.

    A thread of a run that has ended in a stall may still use Ray.
    """
    os.environ.setdefault(ENABLE_AUTO_CONNECT, "0")


def silence_native_log() -> None:
    """Silences Ray's native processes, which log harmless events as errors. A user's setting takes precedence."""
    os.environ.setdefault(NATIVE_LOG_LEVEL, "fatal")


def override_job_runtime_env() -> None:
    """Lets a driver set variables that its Ray job sets too. Otherwise Ray prints both values and does not start."""
    os.environ.setdefault(OVERRIDE_JOB_RUNTIME_ENV, "1")


class _WorkerPath(list[str]):
    """Holds what Ray adds to the module path of workers: only folders that are on this process's path."""

    def extend(self, folders: Iterable[str]) -> None:
        """Adds folders, which Ray does as it connects."""
        known = {os.path.realpath(folder or ".") for folder in sys.path}
        super().extend(folder for folder in folders if os.path.realpath(folder) in known)


def make_job_config() -> Any:
    """Returns the `job_config` of a job whose workers import modules from the same folders as this process.

    Ray puts the working folder first on the path of each worker. In a data set's folder, a worker would run the data
    set's own `polars.py`. `--trust-code` and `python -m` put the working folder on this process's path.
    """
    from ray.job_config import JobConfig

    config = JobConfig()
    config._py_driver_sys_path = _WorkerPath()
    return config


def show_every_worker_line() -> None:
    """Makes Ray show every worker line, without colour; by default it drops lines that differ only in their numbers."""
    from ray._private import ray_logging

    ray_logging.RAY_DEDUP_LOGS = False
    os.environ.setdefault(COLOR_PREFIX, "0")


def silence_retried_errors() -> None:
    """Keeps Ray from logging a task that it retries on another worker as failed."""
    os.environ.setdefault(LOG_RETRIED_ERRORS, "0")


@contextlib.contextmanager
def listen_on_loopback_only() -> Iterator[None]:
    """Makes a cluster that starts inside the `with` block listen only on the loopback interface.

    Ray replaces a loopback address that it is given with the machine's own. This constant is Ray's own way to keep a
    laptop's firewall from asking.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def skip_monitors(keeps_log: bool) -> Iterator[None]:
    """Makes a cluster that starts inside the `with` block leave out the dashboard, the autoscaler and the log monitor.

    A cluster that lives as long as one command needs none of them. They take 5 of the 13 CPU seconds of a start. With
    `keeps_log` the log monitor is started, which sends workers' lines to the driver.
    """
    from ray._private.node import Node

    names = (
        ("start_monitor", "start_api_server")
        if keeps_log
        else ("start_monitor", "start_api_server", "start_log_monitor")
    )
    before = {name: getattr(Node, name) for name in names}
    for name in names:
        setattr(Node, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(Node, name, method)


def make_temp_dir_option(folder: Path) -> dict[str, object]:
    """Returns the option of `ray.init` that keeps a new cluster's files in this folder."""
    return {"_temp_dir": str(folder)}


def put_value(key: str, value: str) -> None:
    """Puts a value into the cluster's own key-value table, at the cost of one small message."""
    from ray.experimental.internal_kv import _internal_kv_put

    _internal_kv_put(key, value, namespace=_KEYS)


def get_value(key: str) -> str | None:
    """Returns a value from the cluster's own table; None if the key is missing."""
    from ray.experimental.internal_kv import _internal_kv_get

    value = _internal_kv_get(key, namespace=_KEYS)
    return None if value is None else value.decode()


def remove_value(key: str) -> None:
    """Removes a value from the cluster's own table, if the key exists."""
    from ray.experimental.internal_kv import _internal_kv_del

    _internal_kv_del(key, namespace=_KEYS)


def upload_packages(folders: list[str], excludes: list[str], expiration_seconds: int) -> list[str]:
    """Uploads folders of packages to the cluster and returns their URIs, for a `runtime_env`'s `py_modules`.

    Ray itself uploads folders only for whole jobs, and drops uploads after ten minutes, before later nodes fetch them.
    Here they stay for `expiration_seconds`. Files that match `excludes` are not uploaded.
    """
    from ray._private.runtime_env.packaging import pin_runtime_env_uri
    from ray._private.runtime_env.py_modules import upload_py_modules_if_needed

    environment = {"py_modules": list(folders), "excludes": excludes}
    uris: list[str] = upload_py_modules_if_needed(environment, include_gitignore=False)["py_modules"]
    for uri in uris:
        pin_runtime_env_uri(uri, expiration_s=expiration_seconds)
    return uris
