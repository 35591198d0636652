"""Runs the annotate command as a process of its own, to be killed at chosen points of its progress."""

import contextlib
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import ray
import yaml
from ray.cluster_utils import Cluster

from pipelines.engines.flags import list_stored_stages
from schemas.output_set.layout import REPORT
from tests.conftest import REPOSITORY
from tests.pipelines.support.engines import trust_flags
from tests.support.kills import PYTHON_PATH, KillOrder
from tests.support.signals import heed_interrupts

TIMEOUT = 600.0  # of a hang: a busy machine takes its time
NO_TOKEN = {"RAY_AUTH_MODE": "disabled"}  # clusters of tests listen on this machine alone


AGENT_PORTS = ("dashboard-agent-grpc-port", "dashboard-agent-listen-port", "runtime-env-agent-port")
"""Of a node's helpers, whose node waits 15 seconds at most for those that choose them: too little on a busy machine."""


class Driver:
    """An annotate command with a test engine that logs every image it is given."""

    def __init__(
        self,
        folder: Path,
        images: str,
        engine: str = "PixelOcr",
        *,
        address: str = "",
        workers: int = 2,
        stall_seconds: float = 100,
        engines: Mapping[Any, Any] | None = None,
        chunk: int = 4,
        resources: Mapping[str, Mapping[str, float]] | None = None,
        run: Mapping[str, object] | None = None,
        **settings: object,
    ) -> None:
        self.folder, self.output = folder, folder / "out"
        self.log, self.order = folder / "calls.log", KillOrder(folder / "kill-order")
        folder.mkdir(parents=True, exist_ok=True)
        self.log.touch()
        spec = {"engine": engine, "settings": settings, "batch_size": 2}
        recipe: dict[str, Any] = {
            "input": images,
            "engines": dict(engines or {"ocr": spec}),
            "chunk": {"samples": chunk},
            "run": {
                "output": str(self.output),
                "workers": workers,
                "address": address or None,
                "stall_seconds": stall_seconds,
                "resources": dict(resources or {}),
                **(run or {}),
            },
        }
        self.recipe = folder / "recipe.yaml"
        self.arguments = [
            str(self.recipe),
            *trust_flags(*(one["engine"] for one in list_stored_stages(recipe["engines"]).values())),
        ]
        self.recipe.write_text(yaml.safe_dump(recipe))
        self.environment = os.environ | {
            **self.order.environment,
            "CALL_LOG": str(self.log),
            **(NO_TOKEN if address else {}),
        }

    def start(self, *flags: str) -> "subprocess.Popen[str]":
        """The command, running."""
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.annotate", *self.arguments, *flags],
            cwd=REPOSITORY,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_interrupts,
        )

    def run(self, *flags: str) -> "subprocess.CompletedProcess[str]":
        """The command, run to its end."""
        process = self.start(*flags)
        out, err = process.communicate(timeout=TIMEOUT)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def calls(self) -> int:
        """Images that engines have been given so far, over all runs."""
        return len(self.log.read_text().splitlines())

    def count_kept(self, *other_logs: Path) -> int:
        """Counts the annotated images in committed shards, and in the whole parts of others, when the run is dead.

        Waits for the end of the processes that have logged calls: they outlive a killed driver for a moment.
        """
        lines = "".join(log.read_text() for log in (self.log, *other_logs)).splitlines()
        workers = {Path(f"/proc/{process}/stat") for process in lines}
        wait_until(lambda: not any(map(_is_running, workers)))
        committed = {path.stem for path in (self.output / "manifests").glob("*.json")}
        kept = sum(pq.read_metadata(self.output / f"data/{name}.parquet").num_rows for name in committed)
        parts = (path for path in (self.output / "parts").glob("*.parquet") if path.name[:8] not in committed)
        return kept + sum(pq.read_table(path)["reason"].null_count for path in parts)

    def kill_when(self, ready: Callable[[], bool]) -> bool:
        """Starts the command and kills it as soon as `ready`; whether it was alive to be killed."""
        process = self.start()
        try:
            wait_until(lambda: ready() or process.poll() is not None)
            alive = process.poll() is None
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        return alive


def _is_running(stat: Path) -> bool:
    """Returns whether a process runs, by its file in /proc. One whose parent has not taken leave of it does not."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def cluster_of(cpus: int, **variables: str) -> Iterator[str]:
    """A running cluster, as drivers of Ray jobs find it; its address."""
    port, *agent_ports = free_ports(1 + len(AGENT_PORTS))
    environment = os.environ | {"PYTHONPATH": PYTHON_PATH} | NO_TOKEN | variables
    ray = Path(sys.executable).parent / "ray"
    start = [ray, "start", "--head", "--block", f"--port={port}", f"--num-cpus={cpus}", "--include-dashboard=false"]
    start += [f"--{name}={own}" for name, own in zip(AGENT_PORTS, agent_ports, strict=True)]
    # Not `ray stop` in the end, which would stop every other Ray on this machine too.
    with subprocess.Popen(start, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as head:
        assert head.stdout is not None
        started = any("Ray runtime started" in line for line in head.stdout)
        assert started, "no cluster"
        threading.Thread(target=head.stdout.read, daemon=True).start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            head.terminate()
            head.wait(timeout=60)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def without_progress(printed: str) -> str:
    """All but the lines on what is being done, of which a slow machine shows more."""
    doing = re.compile(r"(annotate|render|shard|join|demo|boxes)[: ]|starting Ray|connecting to Ray|writing .*report")
    return "".join(line for line in printed.splitlines(keepends=True) if not doing.match(line))


def wait_until(ready: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    """Waits for progress; fails the test when there is none."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "no progress"
        time.sleep(0.005)


def hashes(output: Path) -> dict[str, str]:
    """Every file of an output set that must be the same in every run: all but the timings, and the report's page."""
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.name not in ("stats.json", REPORT)
    }


@contextlib.contextmanager
def cluster_that_offers(resource: str, gpus: int = 0) -> Iterator[Cluster]:
    """A head, and a node that offers to run one pool, and says that it has GPUs."""
    ray.shutdown()
    head = {"num_cpus": 2, "include_dashboard": False}  # whose ten processes nobody here looks at
    started = Cluster(initialize_head=True, head_node_args=head)
    try:
        started.add_node(num_cpus=2, num_gpus=gpus, resources={resource: 100})
        yield started
    finally:
        ray.shutdown()
        started.shutdown()
