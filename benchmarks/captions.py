"""Measures captions by a server: the pipeline's requests/s over a bare `asyncio` loop's with the same client.

    python -m benchmarks.captions [--images 5000] [--workers 4] [--in-flight 16] [--seconds 4]

A stand-in server in a process of its own answers each request after half to one and a half times as many seconds, by
the request. It measures all rates, from the first request to the last answer, so that none has start-up in it. The bare
loop sends as many images, encoded beforehand, by one client with as many requests in flight as all workers of the
pipeline. The engine alone, in this process, encodes and asks for batches of `--batch` images, several at once;
`--engine-only` ends there. The pipeline reads shards, decodes, fills the prompt, encodes, asks, writes parts and
commits. The memory of the pools' workers is sampled over the run.
"""

import argparse
import asyncio
import hashlib
import io
import json
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import openai
import psutil
from PIL import Image

from curation.engines.captions.endpoint_settings import EndpointSettings
from curation.engines.captions.runtime.endpoint import Endpoint
from curation.engines.captions.runtime.pictures import encode_image
from curation.engines.kinds import CaptionRequest
from pipelines.annotate.run import annotate
from pipelines.annotate.worker import BATCHES_AT_ONCE
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.tar.writer import TarWriter

SIDE = 512  # pixels, as most of DataComp's
KINDS = 16  # different pictures
PER_SHARD = 1250
MODEL = "m"
TEXT = "A caption of thirty words. " * 6
SAMPLE_SECONDS = 2.0


@dataclass
class Seen:
    """Holds what the server has seen since it was asked last."""

    requests: int = 0
    first: float = 0.0
    last: float = 0.0
    in_flight: int = 0
    most_in_flight: int = 0
    began_cpu: float = 0.0  # seconds of the server's process
    ended_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / (self.last - self.first)

    @property
    def busy(self) -> float:
        """The share of a core that the server took: well below one, or it would be the bottleneck."""
        return (self.ended_cpu - self.began_cpu) / (self.last - self.first)


def serve(control: Connection, seconds: float) -> None:
    """Answers requests in this process until it ends; sends the port, then what it has seen, each time it is asked."""
    asyncio.run(_serve(control, seconds))


async def _serve(control: Connection, seconds: float) -> None:
    seen = Seen()  # another one each time that it has been asked for
    usage = {"prompt_tokens": 400, "completion_tokens": 40, "total_tokens": 440}
    choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    answer = make_response({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})

    async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            if head.startswith(b"GET"):
                writer.write(make_response({"data": [{"id": MODEL}]}))
                continue
            length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            now = time.monotonic()
            if not seen.requests:
                seen.first, seen.began_cpu = now, time.process_time()
            seen.requests += 1
            seen.in_flight += 1
            seen.most_in_flight = max(seen.most_in_flight, seen.in_flight)
            digest = hashlib.sha256(str(seen.requests).encode()).digest()
            await asyncio.sleep(seconds * (0.5 + int.from_bytes(digest[:2]) / 65536))
            writer.write(answer)
            seen.last, seen.ended_cpu = time.monotonic(), time.process_time()
            seen.in_flight -= 1
        writer.close()

    server = await asyncio.start_server(answer_all, "127.0.0.1", 0, limit=1 << 24)
    control.send(server.sockets[0].getsockname()[1])
    while True:
        await asyncio.to_thread(control.recv)
        control.send(seen)
        seen = Seen()


def make_response(body: object) -> bytes:
    """Returns the response with this JSON."""
    data = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)


def make_images() -> list[np.ndarray]:
    """Returns pictures of random patches, whose JPEG files are about as large as photos'."""
    drawn = [np.random.default_rng(seed).integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8) for seed in range(KINDS)]
    return [np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for one in drawn]


def write_images(folder: Path, images: int) -> None:
    """Writes shards of these pictures."""
    files = []
    for picture in make_images():
        Image.fromarray(picture).save(file := io.BytesIO(), "JPEG", quality=90)
        files.append(file.getvalue())
    for start in range(0, images, PER_SHARD):
        with (folder / f"{start // PER_SHARD:08d}.tar").open("wb") as out:
            writer = TarWriter(out)
            for number in range(start, min(images, start + PER_SHARD)):
                writer.add(f"{number:09d}.jpg", files[number % KINDS])
                writer.add(f"{number:09d}.txt", b"a picture")
                writer.add(f"{number:09d}.json", json.dumps({"key": f"{number:09d}"}).encode())
            writer.close()


async def ask_bare(url: str, images: int, in_flight: int) -> None:
    """Asks for all captions by one client."""
    encoded = [encode_image(picture, EndpointSettings()) for picture in make_images()]
    client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    waiting = iter(range(images))

    async def work() -> None:
        for number in waiting:
            content: Any = [
                {"type": "image_url", "image_url": {"url": encoded[number % KINDS]}},
                {"type": "text", "text": "Describe this image in detail."},
            ]
            await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])

    async with client:
        await asyncio.gather(*(work() for _ in range(in_flight)))


def ask_engine(url: str, images: int, in_flight: int, batch: int) -> list[float]:
    """Asks for all captions by one engine, for batches at once as a worker does.

    Returns the memory of this process after each batch, in bytes.
    """
    engine = Endpoint(EndpointSettings(model=MODEL, base_url=url, in_flight=in_flight))
    drawn = make_images()

    def ask(start: int) -> float:
        numbers = range(start, min(images, start + batch))
        answers = engine.annotate([CaptionRequest(str(n), "Describe this image.", drawn[n % KINDS]) for n in numbers])
        assert [answer.id for answer in answers if answer.status == "ok"] == [str(number) for number in numbers]
        return float(psutil.Process().memory_full_info().uss)

    with ThreadPoolExecutor(BATCHES_AT_ONCE) as batches:
        return list(batches.map(ask, range(0, images, batch)))


@contextmanager
def sampled_memory() -> Iterator[list[float]]:
    """Samples the memory of all workers of the run, in bytes, every `SAMPLE_SECONDS` inside a `with` block."""
    samples: list[float] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_SECONDS):
            held = []
            for process in psutil.Process().children(recursive=True):
                try:
                    if "PoolWorker" in " ".join(process.cmdline()):
                        held.append(process.memory_full_info().uss)
                except psutil.Error:
                    continue
            if held:
                samples.append(sum(held))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


def main() -> None:
    """Reads the command line, measures both and prints the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16, help="images per call of the engine")
    parser.add_argument("--engine-only", action="store_true")
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    control, remote = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(remote, options.seconds), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{control.recv()}/v1"

    def look() -> Seen:
        control.send(True)
        seen: Seen = control.recv()
        return seen

    asyncio.run(ask_bare(url, options.images, options.workers * options.in_flight))
    bare = look()
    held = ask_engine(url, options.images, options.workers * options.in_flight, options.batch)
    alone = look()
    print(f"engine alone: {alone.rate:.1f}/s, {alone.rate / bare.rate:.3f} of the bare loop's {bare.rate:.1f}/s")
    print(
        f"its process: {held[len(held) // 3] / 1e6:.0f} MB after a third of the run, {held[-1] / 1e6:.0f} MB at the end"
    )
    if options.engine_only:
        server.kill()
        return
    with tempfile.TemporaryDirectory() as name, sampled_memory() as memory:
        (folder := Path(name) / "images").mkdir()
        write_images(folder, options.images)
        settings = {"base_url": url, "in_flight": options.in_flight}
        engine = {"engine": "endpoint", "settings": {"model": MODEL}, "batch_size": options.batch}
        run = {"workers": options.workers, "settings": {"captions": settings}}
        recipe = AnnotateRecipe.model_validate(
            {"input": f"{folder}/*.tar", "engines": {"captions": {"dense": engine}}, "run": run}
        )
        annotate(recipe, f"{name}/out")
    made = look()
    server.kill()
    for label, seen in (("bare asyncio loop", bare), (f"annotate, {options.workers} workers", made)):
        print(f"{label}: {seen.requests} requests, {seen.rate:.1f}/s, at most {seen.most_in_flight} in flight")
        print(f"  the server took {seen.busy:.2f} of a core")
    print(f"ratio: {made.rate / bare.rate:.3f}")
    third = max(1, len(memory) // 3)
    first, last = median(memory[third : 2 * third]), median(memory[2 * third :])
    workers = f"{options.workers} workers that ask and one that decodes"
    print(f"{workers}: {first / 1e6:.0f} MB in the second third of the run, {last / 1e6:.0f} MB in the last")


if __name__ == "__main__":
    main()
