"""Measures engines without a pipeline: processes that only call one engine on decoded pictures, in a loop.

`measure` starts them with the Python of the engine's environment, and begins when all have loaded their weights.
"""

import contextlib
import json
import os
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.engines.kinds import EngineInput, EngineKind
from curation.images.decode import DecodeLimits, RgbImage, decode
from pipelines.engines.loader import find_environment, load_engine
from pipelines.environments.python import get_completion_mark, get_interpreter
from pipelines.recipes.annotate import EngineOptions
from schemas.errors import ShardloomError
from schemas.records.quarantine import Rejected

REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class Bare:
    """Describes what each process does."""

    kind: EngineKind
    options: EngineOptions
    images: str  # a folder of shards
    names: list[str]  # that a box engine looks for in every image
    gpus: float  # the share of a GPU for each process
    seconds: float


def find_missing_environment(kind: EngineKind, options: EngineOptions) -> str | None:
    """Returns the name of the environment that the engine needs and that is not built here, or None."""
    name = find_environment(kind, options)
    return None if name is None or get_completion_mark(name).exists() else name


def measure(bare: Bare, processes: int) -> float:
    """Returns images per second of all processes together, over the same time."""
    name = find_environment(bare.kind, bare.options)
    python = sys.executable if name is None else str(get_interpreter(name))
    job = json.dumps(vars(bare) | {"options": bare.options.model_dump()})
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [python, "-m", "benchmarks.bare_engine", job]
    started = [
        subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, **pipes)
        for _ in range(processes)
    ]
    for process in started:
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"{bare.kind}: a process ended with {process.wait()} before it began")
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(float(process.communicate()[0]) for process in started)


def run_loop(bare: Bare) -> None:
    """Loads the engine, says `ready`, waits for a line, and prints images per second; a batch before it warms up."""
    pictures = decode_shards(Path(bare.images))
    engine = load_engine(bare.kind, bare.options, gpus=bare.gpus)
    size = min(bare.options.batch_size, len(pictures))
    batches = [
        EngineInput(pictures[start : start + size], [""] * size, [bare.names] * size)
        for start in range(0, len(pictures) - size + 1, size)
    ]
    engine.annotate(batches[0])
    print("ready", flush=True)
    sys.stdin.readline()
    done, started = 0, time.perf_counter()
    while done == 0 or time.perf_counter() - started < bare.seconds:
        engine.annotate(batches[done % len(batches)])
        done += 1
    print(done * size / (time.perf_counter() - started))


def decode_shards(folder: Path) -> list[RgbImage]:
    """Returns the pictures of all shards, without those that cannot be decoded: the drawn shards have a few."""
    pictures = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg") and (file := tar.extractfile(member)) is not None:
                    with contextlib.suppress(Rejected):
                        pictures.append(decode(file.read(), DecodeLimits()))
    return pictures


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    try:
        run_loop(Bare(**job | {"options": EngineOptions.model_validate(job["options"])}))
    except ShardloomError as error:
        sys.exit(str(error))
