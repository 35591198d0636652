"""The Ray cluster that a run uses: a running one, or one of our own on this machine."""

import atexit
import contextlib
import logging
import math
import os
import queue
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import ray

from pipelines import GRAPH_THREAD
from pipelines.cluster.capacity import READING_CPUS
from pipelines.cluster.machine import cores, memory
from pipelines.cluster.private_files import (
    holds_private_folder,
    make_private_folder,
    protect_token,
    remove_private_folders,
)
from pipelines.cluster.ray_internals import (
    files_below,
    prefer_the_drivers_environment,
    silence_native_log,
    staying_on_this_machine,
    without_monitors,
)
from pipelines.recipes.base import RunOptions
from schemas.errors import ShardloomError, UsageError, one_line
from schemas.own_packages import FOUND_FIRST
from schemas.storage.folder import OPTIONS

NAMESPACE = "shardloom:"  # begins Ray's namespace of our connections
START_SECONDS = 180.0  # two tries of Ray's own on a busy machine: each waits 30 seconds for a node to be heard of
STORE_SHARE = 0.3  # of a machine's memory, Ray's own default


def is_callers() -> bool:
    """Whether Ray is in use in this process by somebody else than us: our work joins that cluster."""
    return ray.is_initialized() and not _namespace().startswith(NAMESPACE)


def _namespace() -> str:
    """What connections are told by. Ray keeps it, so that nothing here has to remember what it has started."""
    return str(ray.get_runtime_context().namespace)


def _fits(cpus: int, store: int) -> bool:
    """Whether the cluster of our own that is running has so much; Ray may round its store down."""
    has = ray.cluster_resources()
    return bool(has.get("CPU", 0) >= cpus and has.get("object_store_memory", 0) >= 0.99 * store)


def connect(run: RunOptions, object_store_bytes: int, cpus: float = 0.0) -> None:
    """Joins the cluster at `run.address` or RAY_ADDRESS, or starts one that ends with this process.

    A cluster of our own has the cores we say: enough for the `cpus` that all workers ask for and for the reading, so
    that no stage can ever wait for a core that it won't get: Ray would wait without end and without a word.
    """
    store = min(object_store_bytes, int(STORE_SHARE * memory()))
    wanted = math.ceil(max(cores(), run.workers or 1, cpus) + READING_CPUS)
    address = run.address or os.environ.get("RAY_ADDRESS")
    namespace = f"{NAMESPACE}{address or Path.cwd()}"  # of our own: workers stay in the folder that it was started in
    if ray.is_initialized():
        if is_callers():
            if run.address not in (None, "auto", here := ray.get_runtime_context().gcs_address):
                raise UsageError(f"this process uses Ray at {here}, and the run asks for {run.address}")
            return
        if _namespace() == namespace and (address or _fits(wanted, store)):
            return
        ray.shutdown()  # an earlier run of this process asked for less, or for another cluster
        remove_private_folders()
    silence_native_log()
    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, object] = {"address": address, "namespace": namespace}
    if storage := os.environ.get(OPTIONS):  # workers on other machines know nothing of our command line
        options["runtime_env"] = {"worker_process_setup_hook": storage_hook(storage)}
        prefer_the_drivers_environment()
    if not address:
        options |= {"address": "local", "num_cpus": wanted, "object_store_memory": store, "include_dashboard": False}
        options |= files_below(make_private_folder())
        protect_token()
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        with contextlib.ExitStack() as stack:
            if not address:
                stack.enter_context(staying_on_this_machine())
                stack.enter_context(without_monitors())
            _start(options, tries=1 if address else 2)
    except Exception as error:  # noqa: BLE001 - Ray has no class of its own for a node that is too slow to start
        raise ShardloomError(f"cannot use Ray at {address or 'this machine'}: {one_line(error)}") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_term)  # Ray's own handler would print a native stack


def storage_hook(storage: str) -> Callable[[], None]:
    """Returns what gives a worker, as its process starts, the options of stores.

    They may be keys. Ray prints variables of a `runtime_env` in its logs and in answers of its dashboard, for all who
    use the machine. Of a hook it prints the name; the function itself is an object in the cluster's own table. It is
    a function within one, so that it travels as code, and needs nothing of ours where it runs.
    """
    name = OPTIONS

    def give_storage_options() -> None:
        os.environ[name] = storage

    return give_storage_options


@atexit.register  # runs before Ray's own, which was registered when Ray was imported
def _end_own_cluster() -> None:
    """Ends the cluster of our own and removes its files. Does nothing in workers, which have started none."""
    if not holds_private_folder():
        return
    if ray.is_initialized() and not is_callers():
        ray.shutdown()
    remove_private_folders()


def _start(options: dict[str, object], tries: int) -> None:
    """Ray gives a node's processes 15 seconds to start. They load quicker when they have been loaded before.

    In a thread of its own, for a node that dies as it starts is waited for without end, in native code. That thread
    stays: the node's processes are told to end with the one that has started them.
    """
    result: queue.Queue[Exception | None] = queue.Queue()

    def init() -> None:
        try:
            ray.init(**options, logging_level=logging.ERROR, log_to_driver=False)
        except Exception as error:  # noqa: BLE001  handed to the thread that waits
            result.put(error)
            return
        threading.current_thread().name = "ray"
        result.put(None)
        threading.Event().wait()

    with _no_stderr():
        threading.Thread(target=init, daemon=True, name=GRAPH_THREAD).start()
        try:
            error = result.get(timeout=START_SECONDS)
        except queue.Empty:
            raise TimeoutError(f"it has not started within {START_SECONDS:g} s; the same command tries again") from None
    if error is not None:
        if tries == 1:
            raise error
        _start(options, tries - 1)


def explained(error: BaseException) -> BaseException:
    """A foreseen error for what clusters do (nodes and workers that are lost); a bug of ours is left as it is."""
    if fault := re.search(f"ImportError: (.* {FOUND_FIRST} .*)", str(error)):
        return UsageError(f"on a worker's machine, {fault[1]}")
    if isinstance(error, ray.exceptions.RayError) and not isinstance(error, ray.exceptions.RayTaskError):
        return ShardloomError(f"Ray gave up ({one_line(error, with_type=True)}); the same command goes on")
    return error


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Silences what Ray's native code prints as it starts, which no setting does."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
