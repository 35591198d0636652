"""Measures what each process of the driver's simulated cluster takes while it runs: see `benchmarks.driver`."""

import contextlib
import resource
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from schemas.output_set.layout import MANIFESTS, PARTS

QUIET_SECONDS, BOXES_RAN_SECONDS, READING_SECONDS = 15.0, 5.0, 2.0
READ_AT = (0.2, 0.43, 0.66)  # of the chunks: drivers start one after the other, and run out of shards one by one
ACTORS = {"Ledger": "ledger", "SubDriver": "sub-drivers", "ShardQueue": "queue"}


@dataclass(frozen=True, slots=True)
class Usage:
    """Holds the progress and the resource use at one moment."""

    chunks: int  # done
    seconds: float
    cpu: Counter[str]  # seconds by role
    sub_drivers: Counter[int]  # seconds of each, by process
    memory: Counter[str]  # bytes of the drivers by role


@dataclass(slots=True)
class Watch:
    """Holds the measurements of a run."""

    idle_cores: Counter[str] = field(default_factory=Counter)  # that each role takes while no chunk moves
    readings: list[Usage] = field(default_factory=list)  # at `READ_AT` of the chunks


class Meter:
    """Reads the progress of a run and the CPU seconds of its processes, also of those that have ended."""

    def __init__(self, output: Path, shard_chunks: int) -> None:
        self._output, self._shard_chunks, self._seconds = (
            output,
            shard_chunks,
            dict[tuple[int, float], tuple[str, float]](),
        )

    def read(self) -> Usage:
        """Returns the state of now."""
        this = psutil.Process()
        memory = Counter({"driver": this.memory_full_info().uss})
        for process in this.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                times, name = process.cpu_times(), role(" ".join(process.cmdline()))
                self._seconds[process.pid, process.create_time()] = (name, times.user + times.system)
                if name == "sub-drivers":
                    memory[name] += process.memory_full_info().uss
        cpu, sub_drivers = Counter({"driver": own_seconds()}), Counter[int]()
        for (pid, _), (name, seconds) in self._seconds.items():
            cpu[name] += seconds
            if name == "sub-drivers":
                sub_drivers[pid] += seconds
        return Usage(done(self._output, self._shard_chunks), time.monotonic(), cpu, sub_drivers, memory)


def done(output: Path, shard_chunks: int) -> int:
    """Returns the number of chunks done: those of committed shards, and the parts of others."""
    shards = {path.stem for path in (output / MANIFESTS).glob("*.json")}
    parts = [path.stem for path in (output / PARTS).glob("*.parquet") if "+" not in path.stem]  # slices have a "+"
    return len(shards) * shard_chunks + sum(stem.rpartition("-")[0] not in shards for stem in parts)


def own_seconds() -> float:
    """Returns the CPU seconds of all threads of this process but the calling one."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime - time.thread_time()


def role(command: str) -> str:
    """Returns the role of a process of the cluster, by its command."""
    if command.startswith("ray::"):
        return next((role for name, role in ACTORS.items() if command.startswith(f"ray::{name}")), "workers")
    name = Path(command.split(" ", 1)[0]).name
    return {"gcs_server": "gcs", "raylet": "raylets"}.get(name, "agents")


@contextlib.contextmanager
def watched(output: Path, shards: int, shard_chunks: int) -> Iterator[Watch]:
    """Measures in a thread while a run continues, whose `shards` have as many chunks each."""
    over = threading.Event()
    watch = Watch()

    def look() -> None:
        idle: list[Usage] = []
        meter = Meter(output, shard_chunks)
        while not over.wait(READING_SECONDS) and not (now := meter.read()).chunks:
            idle.append(now)
        watch.idle_cores = cores_in_pause(idle)
        for share in READ_AT:
            while (now := meter.read()).chunks < share * shards * shard_chunks and not over.wait(READING_SECONDS):
                pass
            watch.readings.append(now)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()


def cores_in_pause(readings: Sequence[Usage]) -> Counter[str]:
    """Returns the cores that each role took in the last `QUIET_SECONDS` of the pause, but for its last 5 s.

    Boxes ran in those.
    """
    end = [each for each in readings if each.seconds <= readings[-1].seconds - BOXES_RAN_SECONDS][-1]
    begin = [each for each in readings if each.seconds <= end.seconds - QUIET_SECONDS][-1]
    seconds = end.seconds - begin.seconds
    return Counter({name: (end.cpu[name] - begin.cpu[name]) / seconds for name in end.cpu})
