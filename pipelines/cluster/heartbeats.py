"""Sends heartbeats to a run's ledger while a worker does what may take minutes without a result."""

import contextlib
import threading
from collections.abc import Iterator

import ray

LOADING_HEARTBEAT_SECONDS, MAX_LOADING_SECONDS = 5.0, 1800.0


@contextlib.contextmanager
def send_heartbeats(ledger: ray.actor.ActorHandle) -> Iterator[None]:
    """Sends heartbeats while an engine loads or fetches its weights, for half an hour at most."""
    done = threading.Event()

    def send() -> None:
        for _ in range(int(MAX_LOADING_SECONDS / LOADING_HEARTBEAT_SECONDS)):
            if done.wait(LOADING_HEARTBEAT_SECONDS):
                return
            ledger.record_heartbeat.remote()

    threading.Thread(target=send, daemon=True).start()
    try:
        yield
    finally:
        done.set()
