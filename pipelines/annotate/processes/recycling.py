"""Ends the process of a worker that has done its share of images, so that Ray starts another in its place."""

import contextlib
import os
import time
from typing import NoReturn

import ray

from pipelines.cluster.ledger_client import LedgerClient

EXIT_TIMEOUT_SECONDS = 30.0  # for Ray to end a process that it was asked to end


def end_process(ledger: LedgerClient) -> NoReturn:
    """Ends this process through Ray, which reports a process that ends by itself as a crash."""
    with contextlib.suppress(ray.exceptions.RayError):  # a dead ledger counts nothing
        ledger.recycle_worker()
    ray.kill(ray.get_runtime_context().current_actor, no_restart=False)
    time.sleep(EXIT_TIMEOUT_SECONDS)
    os._exit(1)
