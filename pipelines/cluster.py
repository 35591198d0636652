"""The Ray cluster that a run uses: a running one, or one of our own on this machine."""

import contextlib
import logging
import math
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import ray

from pipelines.recipe import RunOptions
from schemas.errors import ShardloomError, UsageError

READING_CPUS = 1.0  # of all tasks that read shards: they wait for disks more than they compute


@dataclass(frozen=True, slots=True)
class Pool:
    """The workers that a stage asks for."""

    stage: str
    workers: int
    cpus: float
    gpus: float


def worker_count(run: RunOptions) -> int:
    """The workers asked for; by default one a core of this machine, or of the cluster less one for reading."""
    if run.workers is not None:
        return run.workers
    cores = ray.cluster_resources().get("CPU", 1) - READING_CPUS if ray.is_initialized() else _cores()
    return max(1, int(cores // run.cpus_per_worker))


def _cores() -> int:
    """The cores that this process may use: a container's share, not the host's."""
    return len(os.sched_getaffinity(0))


def connect(run: RunOptions, object_store_bytes: int) -> None:
    """Joins the cluster at `run.address` or RAY_ADDRESS, or starts one that ends with this process."""
    if ray.is_initialized():
        return
    address = run.address or os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray reports harmless things as errors; set it to see all
    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, object] = {"address": address}
    if not address:
        # The cores we declare are ours to choose: enough for every worker and the reading, so that no stage of a run
        # of our own can ever wait for a core that it won't get (ray.md trap 1).
        cores = max(_cores(), worker_count(run) * run.cpus_per_worker) + READING_CPUS
        options = {"address": "local", "num_cpus": math.ceil(cores), "object_store_memory": object_store_bytes}
        options |= {"include_dashboard": False}
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        with _no_stderr():
            ray.init(**options, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ShardloomError(
            f"cannot use Ray at {address or 'this machine'}: {' '.join(str(error).split())[:300]}"
        ) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_term)  # Ray's own handler would print a native stack


def explained(error: BaseException) -> BaseException:
    """A foreseen error for what clusters do (nodes and workers that are lost); a bug of ours is left as it is."""
    if isinstance(error, ray.exceptions.RayError) and not isinstance(error, ray.exceptions.RayTaskError):
        text = " ".join(str(error).split())[:300]
        return ShardloomError(f"Ray gave up ({type(error).__name__}: {text}); the same command goes on")
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


def check(pools: list[Pool]) -> None:
    """Raises `UsageError` naming the first stage whose workers don't fit on the cluster."""
    have = ray.cluster_resources()
    cpus, gpus = have.get("CPU", 0.0) - READING_CPUS, have.get("GPU", 0.0)
    for pool in pools:
        cpus, gpus = cpus - pool.workers * pool.cpus, gpus - pool.workers * pool.gpus
        if cpus < 0 or gpus < 0:
            raise UsageError(
                f"stage {pool.stage} asks for {pool.workers} workers of {pool.cpus:g} CPUs and {pool.gpus:g} GPUs; "
                f"the cluster has {have.get('CPU', 0):g} CPUs (1 of them for reading) and "
                f"{have.get('GPU', 0):g} GPUs: lower run.workers or run.cpus_per_worker"
            )
