"""What Shardloom uses of Ray beyond its public interface, under plain names. No other file imports any of it.

Ray Data's part is in `ray_data_internals`. A release of Ray may rename any of this, so the versions are pinned, and a
test looks each name up in the installed Ray. Ray is imported in the functions: it takes longer to import than small
jobs take to run.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

TESTED_FROM, TESTED_BELOW = "2.60", "2.64"
"""The versions of Ray that this was tested with: from the first on, up to the second, which is not one of them."""

NEVER_START_UNASKED = "RAY_ENABLE_AUTO_CONNECT"
NATIVE_LOG_LEVEL = "RAY_BACKEND_LOG_LEVEL"
DRIVERS_ENVIRONMENT_FIRST = "RAY_OVERRIDE_JOB_RUNTIME_ENV"
LOG_RETRIED_ERRORS = "RAY_enable_output_error_log_if_still_retry"

_KEYS = "shardloom"  # namespace in the cluster's own table of keys and values


def never_start_unasked() -> None:
    """Keeps Ray from starting a cluster where one is used without having been started.

    A thread of a run that has ended at a halt may still use one.
    """
    os.environ.setdefault(NEVER_START_UNASKED, "0")


def silence_native_log() -> None:
    """Silences Ray's native processes, which report harmless things as errors; a user's own setting wins."""
    os.environ.setdefault(NATIVE_LOG_LEVEL, "fatal")


def prefer_the_drivers_environment() -> None:
    """Lets a driver give variables that its Ray job was given, too: Ray would print both, and not start."""
    os.environ.setdefault(DRIVERS_ENVIRONMENT_FIRST, "1")


def silence_retried_errors() -> None:
    """Keeps Ray from logging each task that it sends to another worker as failed."""
    os.environ.setdefault(LOG_RETRIED_ERRORS, "0")


@contextlib.contextmanager
def staying_on_this_machine() -> Iterator[None]:
    """Lets a cluster that is started meanwhile listen on the loopback interface alone.

    Ray turns a loopback address that it is given into the machine's own; this is how it keeps laptops' firewalls still.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def without_monitors() -> Iterator[None]:
    """Starts a cluster meanwhile without the processes that serve people who look at it, and those that add machines.

    A cluster that lives as long as one command has no use for a dashboard, for its autoscaler, or for one who collects
    logs that nobody prints: 5 of the 13 CPU seconds that starting it takes.
    """
    from ray._private.node import Node

    names = ("start_monitor", "start_log_monitor", "start_api_server")
    before = {name: getattr(Node, name) for name in names}
    for name in names:
        setattr(Node, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(Node, name, method)


def files_below(folder: Path) -> dict[str, object]:
    """Returns the option of `ray.init` that keeps the files of a new cluster in this folder."""
    return {"_temp_dir": str(folder)}


def put_value(key: str, value: str) -> None:
    """Puts a value into the cluster's own table, where it costs one small message."""
    from ray.experimental.internal_kv import _internal_kv_put

    _internal_kv_put(key, value, namespace=_KEYS)


def get_value(key: str) -> str | None:
    """Returns the value in the cluster's own table, None where there is none."""
    from ray.experimental.internal_kv import _internal_kv_get

    value = _internal_kv_get(key, namespace=_KEYS)
    return None if value is None else value.decode()


def remove_value(key: str) -> None:
    """Removes a value from the cluster's own table, if it is there."""
    from ray.experimental.internal_kv import _internal_kv_del

    _internal_kv_del(key, namespace=_KEYS)


def upload_packages(folders: list[str], left_out: list[str], kept_seconds: int) -> list[str]:
    """Uploads the folders of packages to the cluster, for a `runtime_env`'s `py_modules`; their URIs there.

    Ray itself uploads folders only for whole jobs, and drops what it was given after ten minutes: nodes that come later
    would lack it.
    """
    from ray._private.runtime_env.packaging import pin_runtime_env_uri
    from ray._private.runtime_env.py_modules import upload_py_modules_if_needed

    environment = {"py_modules": list(folders), "excludes": left_out}
    uris: list[str] = upload_py_modules_if_needed(environment, include_gitignore=False)["py_modules"]
    for uri in uris:
        pin_runtime_env_uri(uri, expiration_s=kept_seconds)
    return uris
