"""The Ray cluster that a run uses: a running one, or one of our own on this machine."""

import contextlib
import logging
import math
import os
import queue
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import ray

from pipelines import GRAPH_THREAD
from pipelines.cluster.capacity import READING_CPUS, Node, Request, cluster_nodes, lacking
from pipelines.cluster.ray_internals import prefer_the_drivers_environment, silence_native_log
from pipelines.recipes.base import RunOptions
from schemas.errors import ShardloomError, UsageError, one_line
from schemas.storage.folder import OPTIONS

START_SECONDS = 180.0  # two tries of Ray's own on a busy machine: each waits 30 seconds for a node to be heard of
STORE_SHARE = 0.3  # of a machine's memory, Ray's own default


@dataclass(frozen=True, slots=True)
class Connection:
    """To a cluster that was started here, or joined at its address."""

    job: str
    address: str | None
    cpus: int  # of a cluster of our own, and bytes of its object store
    store: int

    @property
    def is_in_use(self) -> bool:
        """Whether it is what Ray uses now: not, if our caller has started or joined one since."""
        return ray.is_initialized() and _job() == self.job


_connection: Connection | None = None


def _job() -> str:
    """What Ray calls this process while it is connected."""
    context = ray.get_runtime_context()
    return f"{context.gcs_address} {context.get_job_id()}"


def nodes(run: RunOptions) -> list[Node]:
    """What there is for workers and for reading; before a cluster of our own is started, what this machine has."""
    if ray.is_initialized() and joins(run):
        return cluster_nodes()
    return [Node(_cores() + READING_CPUS, _gpus())]  # a cluster of our own says that it has a core more


def default_workers(run: RunOptions) -> int:
    """The workers asked for; by default one a core."""
    return run.workers or max(1, int(sum(node.cpus for node in nodes(run)) - READING_CPUS))


def joins(run: RunOptions) -> bool:
    """Whether the run uses a cluster that is not our own."""
    if run.address or os.environ.get("RAY_ADDRESS"):
        return True
    return ray.is_initialized() and not (_connection is not None and _connection.is_in_use)


def _cores() -> int:
    """The cores that this process may use: a container's share, not the host's."""
    return len(os.sched_getaffinity(0))


def _memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _gpus() -> int:
    """The GPUs that this process may use."""
    if not Path("/proc/driver/nvidia").exists():  # torch takes a second to import
        return 0
    import torch

    return torch.cuda.device_count()


def connect(run: RunOptions, object_store_bytes: int, cpus: float = 0.0) -> None:
    """Joins the cluster at `run.address` or RAY_ADDRESS, or starts one that ends with this process.

    A cluster of our own has the cores we say: enough for the `cpus` that all workers ask for and for the reading, so
    that no stage can ever wait for a core that it won't get (ray.md trap 1).
    """
    global _connection
    store = min(object_store_bytes, int(STORE_SHARE * _memory()))
    wanted = math.ceil(max(_cores(), run.workers or 1, cpus) + READING_CPUS)
    address = run.address or os.environ.get("RAY_ADDRESS")
    if ray.is_initialized():
        if _connection is None or not _connection.is_in_use:  # it is our caller's
            if run.address not in (None, "auto", here := ray.get_runtime_context().gcs_address):
                raise UsageError(f"this process uses Ray at {here}, and the run asks for {run.address}")
            return
        fits = _connection.cpus >= wanted and _connection.store >= store
        if address == _connection.address and (address or fits):
            return
        ray.shutdown()  # an earlier run of this process asked for less, or for another cluster
    silence_native_log()
    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, object] = {"address": address}
    if storage := os.environ.get(OPTIONS):  # workers on other machines know nothing of our command line
        options["runtime_env"] = {"env_vars": {OPTIONS: storage}}
        prefer_the_drivers_environment()
    if not address:
        options = {"address": "local", "num_cpus": wanted, "object_store_memory": store}
        options |= {"include_dashboard": False}
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        _start(options, tries=1 if address else 2)
        _connection = Connection(_job(), address, wanted, store)
    except Exception as error:  # noqa: BLE001 - Ray has no class of its own for a node that is too slow to start
        raise ShardloomError(f"cannot use Ray at {address or 'this machine'}: {one_line(error)}") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_term)  # Ray's own handler would print a native stack


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


def check(requests: Sequence[Request]) -> None:
    """Raises `UsageError` naming every stage whose workers don't fit on the cluster."""
    if fault := lacking(requests, cluster_nodes()):
        raise UsageError(f"{fault}: lower workers or min in run.resources")
