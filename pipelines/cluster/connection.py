"""Connects a run to a Ray cluster: an external one, or a local cluster that it starts on this machine."""

import atexit
import contextlib
import logging
import math
import os
import queue
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

import ray

from pipelines import GRAPH_THREAD
from pipelines.cluster.address import check_address, find_address
from pipelines.cluster.capacity import READ_STAGE_CPUS
from pipelines.cluster.machine import count_cores, get_memory_bytes
from pipelines.cluster.private_files import (
    has_private_folder,
    make_private_folder,
    protect_token,
    remove_private_folders,
)
from pipelines.cluster.ray_internals import (
    IDLE_SETTINGS,
    listen_on_loopback_only,
    make_job_config,
    make_temp_dir_option,
    override_job_runtime_env,
    show_every_worker_line,
    silence_native_log,
    skip_monitors,
)
from pipelines.cluster.start_turn import take_start_turn
from pipelines.recipes.base import RunOptions
from schemas.errors import ShardloomError, UsageError, to_one_line
from schemas.log import is_shown
from schemas.own_packages import SHADOWING_MESSAGE
from schemas.storage.options import OPTIONS_VARIABLE

NAMESPACE_PREFIX = "shardloom:"  # prefix of the Ray namespace of Shardloom's connections
START_SECONDS = 180.0  # two of Ray's own tries on a busy machine: each waits 30 seconds for a node to register
OBJECT_STORE_SHARE = 0.3  # of a machine's memory: Ray's default

ALLOCATOR_SETTINGS = {"MALLOC_ARENA_MAX": "1"}
"""Makes every thread of a worker allocate from the process's main arena. Ray runs tasks in other threads, whose arenas
glibc returns to the system after each large array: OCR took 15 times the page faults, and 1.3 % of the CPU time.
"""


def is_initialized_by_caller() -> bool:
    """Returns whether the caller has connected this process to Ray already: then the work uses that cluster."""
    return ray.is_initialized() and not _get_namespace().startswith(NAMESPACE_PREFIX)


def _get_namespace() -> str:
    """Returns the namespace, which identifies the connection. Ray keeps it, so that no state is needed here."""
    return str(ray.get_runtime_context().namespace)


def _has_capacity(cpus: int, store: int) -> bool:
    """Returns whether the running local cluster has these cores and this store; Ray may round the store down."""
    has = ray.cluster_resources()
    return bool(has.get("CPU", 0) >= cpus and has.get("object_store_memory", 0) >= 0.99 * store)


def connect(run: RunOptions, object_store_bytes: int, cpus: float = 0.0) -> None:
    """Connects to the cluster at `run.address` or RAY_ADDRESS, or starts a local one that ends with this process.

    A local cluster gets enough cores for the `cpus` that all workers request and for reading, so that no stage waits
    for a core that it never gets: Ray would wait for ever, silently. `object_store_bytes` sizes its object store, up
    to `OBJECT_STORE_SHARE` of the memory. Raises `UsageError` where this process uses another cluster than
    `run.address`, and `ShardloomError` where Ray can't start or be reached.
    """
    store = min(object_store_bytes, int(OBJECT_STORE_SHARE * get_memory_bytes()))
    wanted = math.ceil(max(count_cores(), run.workers or 1, cpus) + READ_STAGE_CPUS)
    address = find_address(run)
    namespace = (
        f"{NAMESPACE_PREFIX}{address or Path.cwd()}"  # local: workers stay in the folder where the cluster started
    )
    if ray.is_initialized():
        if is_initialized_by_caller():
            if run.address not in (None, "auto", here := ray.get_runtime_context().gcs_address):
                raise UsageError(f"this process uses Ray at {here}, and the run asks for {run.address}")
            return
        if _get_namespace() == namespace and (address or _has_capacity(wanted, store)):
            return
        ray.shutdown()  # an earlier run of this process needed less, or another cluster
        remove_private_folders()
    check_address(run)
    silence_native_log()
    logging.getLogger("ray").setLevel(logging.ERROR)
    if is_shown(logging.DEBUG):
        show_every_worker_line()
    options: dict[str, object] = {"address": address, "namespace": namespace, "job_config": make_job_config()}
    if storage := os.environ.get(OPTIONS_VARIABLE):  # workers on other machines do not see the command line
        options["runtime_env"] = {"worker_process_setup_hook": make_storage_hook(storage)}
        override_job_runtime_env()
    if not address:
        options |= {"address": "local", "num_cpus": wanted, "object_store_memory": store, "include_dashboard": False}
        options |= make_temp_dir_option(make_private_folder())
        protect_token()
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        with contextlib.ExitStack() as stack:
            if not address:
                stack.enter_context(listen_on_loopback_only())
                stack.enter_context(_pass_on(IDLE_SETTINGS | ALLOCATOR_SETTINGS))
                stack.enter_context(skip_monitors(keeps_log=is_shown(logging.DEBUG)))
                stack.enter_context(take_start_turn())
            _start(options, tries=1 if address else 2)
    except Exception as error:  # noqa: BLE001 - Ray has no exception class for a node that is too slow to start
        raise ShardloomError(f"cannot use Ray at {address or 'this machine'}: {to_one_line(error)}") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_term)  # Ray's own handler would print a native stack


def make_storage_hook(storage: str) -> Callable[[], None]:
    """Returns a function that gives a worker the storage options as its process starts.

    The options may contain keys. Ray prints the variables of a `runtime_env` in its logs and its dashboard, for every
    user of the machine. Of a hook Ray prints only the name; it stores the function in the cluster's own table. The hook
    is a nested function, so that Ray pickles its code and it needs no Shardloom package where it runs.
    """
    name = OPTIONS_VARIABLE

    def give_storage_options() -> None:
        os.environ[name] = storage

    return give_storage_options


@contextlib.contextmanager
def _pass_on(settings: Mapping[str, str]) -> Iterator[None]:
    """Lets processes that start inside the `with` block inherit the settings. A user's setting takes precedence."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@atexit.register  # runs before Ray's handler, which was registered when Ray was imported
def _end_own_cluster() -> None:
    """Ends the local cluster and removes its files. Does nothing in workers, which have started none."""
    if not has_private_folder():
        return
    if ray.is_initialized() and not is_initialized_by_caller():
        ray.shutdown()
    remove_private_folders()


def _start(options: dict[str, object], tries: int) -> None:
    """Starts Ray, up to `tries` times. Raises `TimeoutError` after `START_SECONDS`, or Ray's own exception.

    Ray gives a node's processes 15 seconds to start, and a second try loads them faster. A separate thread starts Ray,
    because Ray waits for ever, in native code, for a node that dies as it starts. That thread stays, because the node's
    processes end with the thread that has started them.
    """
    result: queue.Queue[Exception | None] = queue.Queue()

    def init() -> None:
        try:
            ray.init(**options, logging_level=logging.ERROR, log_to_driver=is_shown(logging.DEBUG))
        except Exception as error:  # noqa: BLE001  raised in the waiting thread
            result.put(error)
            return
        threading.current_thread().name = "ray"
        result.put(None)
        threading.Event().wait()

    with _silence_stderr():
        threading.Thread(target=init, daemon=True, name=GRAPH_THREAD).start()
        try:
            error = result.get(timeout=START_SECONDS)
        except queue.Empty:
            raise TimeoutError(f"it has not started within {START_SECONDS:g} s; the same command tries again") from None
    if error is not None:
        if tries == 1:
            raise error
        _start(options, tries - 1)


def translate_error(error: BaseException) -> BaseException:
    """Returns a foreseen error for a failure of the cluster, such as a lost node; any other exception unchanged."""
    if fault := re.search(f"ImportError: (.* {SHADOWING_MESSAGE} .*)", str(error)):
        return UsageError(f"on a worker's machine, {fault[1]}")
    if isinstance(error, ray.exceptions.RayError) and not isinstance(error, ray.exceptions.RayTaskError):
        return ShardloomError(f"Ray gave up ({to_one_line(error, with_type=True)}); the same command resumes the run")
    return error


@contextlib.contextmanager
def _silence_stderr() -> Iterator[None]:
    """Silences what Ray's native code prints to stderr as it starts, for which Ray has no setting.

    Python's own lines, such as those on what is waited for, are still shown.
    """
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 2)
        with open(os.dup(kept), "w") as ours, contextlib.ExitStack() as stack:  # noqa: PTH123
            if _has_descriptor(sys.stderr, 2):
                stack.enter_context(contextlib.redirect_stderr(ours))
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _has_descriptor(stream: TextIO, number: int) -> bool:
    """Returns whether a stream writes to this file descriptor; a program may have put another object there."""
    try:
        return stream.fileno() == number
    except (OSError, ValueError, AttributeError):
        return False
