"""Ten kills of a run whose captions a server writes, or of its workers: no committed one is asked again.

The key stays hidden.
"""

import contextlib
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import psutil
import pyarrow.parquet as pq
import pytest

from curation.engines.captions.endpoint_settings import EndpointSettings
from curation.engines.captions.runtime.pictures import encode_image
from curation.images.decode import DecodeLimits, decode
from pipelines.annotate.pools import CHUNKS_AT_ONCE
from pipelines.output.totals import read_times
from pipelines.verify.run import verify
from schemas.storage.folder import Folder
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.drivers import Driver, cluster_of, wait_until
from tests.pipelines.support.sets import rows
from tests.support.caption_server import (
    OUTCOMES,
    CaptionServer,
    hash_data_url,
    meet_faults,
    running_server,
    write_caption,
)

IMAGES, SHARDS, CHUNK, WORKERS, IN_FLIGHT = 400, 4, 10, 2, 4
KILLS = 10
KEY = "sk-0123456789-not-to-be-seen"
PROMPT = "Describe {alt_text}."
STATUSES = {"refused": "refused", "filtered": "refused", "truncated": "truncated", "bad": "error"}


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Where Ray keeps its files; its name must be short."""
    folder = Path(tempfile.mkdtemp(prefix="k", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def find_workers() -> list[psutil.Process]:
    """The processes on this machine in which Ray runs a pool's worker for this test's user."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        is_worker = "PoolWorker" in " ".join(process.info["cmdline"] or ())
        if is_worker and (process.info["environ"] or {}).get("CAPTION_KEY") == KEY:
            found.append(process)
    return found


def find_asking(server: CaptionServer) -> list[psutil.Process]:
    """The workers that are connected to the server: those of captions, once they ask."""
    port, found = int(server.url.split(":")[2].partition("/")[0]), []
    for process in find_workers():
        with contextlib.suppress(psutil.Error):
            if any(one.raddr and one.raddr.port == port for one in process.net_connections()):
                found.append(process)
    return sorted(found, key=lambda process: process.pid)


class CaptionRun:
    """A run that is killed and started again, on a cluster that stays."""

    def __init__(self, folder: Path, server: CaptionServer, ray_folder: Path, address: str) -> None:
        self.server, self.ray_folder = server, ray_folder
        (folder / "images").mkdir()
        (folder / "prompt.txt").write_text(PROMPT)
        files = [jpeg(seed, width=32, height=32) for seed in range(IMAGES)]
        each = IMAGES // SHARDS
        for shard in range(SHARDS):
            path = folder / f"images/{shard:08d}.tar"
            write_shard(path, files[each * shard : each * (shard + 1)], first=each * shard)
        sent = (encode_image(decode(file, DecodeLimits()), EndpointSettings()) for file in files)
        self.hashes = {f"{number:012d}": hash_data_url(url) for number, url in enumerate(sent)}
        engine = {"engine": "endpoint", "settings": {"model": "m"}, "prompt": str(folder / "prompt.txt")}
        settings = {
            "base_url": server.url,
            "key_variable": "CAPTION_KEY",
            "in_flight": IN_FLIGHT,
            "timeout_seconds": 2.0,
            "patience_seconds": 600.0,  # in which a killed worker starts again, while the other waits
        }
        self.driver = Driver(
            folder,
            f"{folder}/images/*.tar",
            engines={"tags": {"engine": "caption"}, "captions": {"dense": engine}},
            address=address,
            workers=WORKERS,
            chunk=CHUNK,
            run={"settings": {"captions": settings}},
        )
        recipe = self.driver.recipe
        recipe.write_text(recipe.read_text() + "max_engine_errors: 1.0\n")
        self.driver.environment |= {"CAPTION_KEY": KEY}

    def kill_after(self, answers: int) -> None:
        """Starts the run, and kills it once the server has answered so many times. Waits for the end of its workers."""
        process = self.driver.start()
        target = len(self.server.answered) + answers
        wait_until(lambda: len(self.server.answered) >= target or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        self.check_key_is_hidden()
        process.send_signal(signal.SIGKILL)
        printed = process.communicate()
        wait_until(lambda: not find_workers())
        assert KEY not in "".join(printed)

    def kill_worker(self, process: "Popen[str]", answers: int, points: random.Random) -> None:
        """Kills one of the workers that wait for the server, once that has given so many answers. The run goes on."""
        workers: list[psutil.Process] = []

        def are_waiting() -> bool:
            workers[:] = find_asking(self.server)
            return len(self.server.answered) >= answers and len(workers) == WORKERS

        wait_until(lambda: process.poll() is not None or are_waiting())
        assert process.poll() is None, process.communicate()
        self.check_key_is_hidden()
        points.choice(workers).kill()

    def find_committed(self) -> set[str]:
        """The keys of the images in committed shards, and in whole parts."""
        output = self.driver.output
        shards = {path.stem for path in (output / "manifests").glob("*.json")}
        files = [output / f"data/{name}.parquet" for name in shards]
        files += [path for path in (output / "parts").glob("*.parquet") if path.name[:8] not in shards]
        return {key for path in files for key in pq.read_table(path, columns=["key"])["key"].to_pylist()}

    def check_key_is_hidden(self) -> None:
        """No process has it in its command line, and no file of the set or of Ray holds it."""
        for process in psutil.process_iter():
            try:
                assert KEY not in " ".join(process.cmdline())
            except psutil.Error:
                continue
        for folder in (self.driver.output, self.ray_folder):
            for path in folder.rglob("*"):
                if path.is_file():
                    assert KEY.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_ten_kills(tmp_path: Path, ray_folder: Path) -> None:
    points = random.Random(17)
    with (
        running_server(choose=meet_faults, key=KEY, delay=0.05) as server,
        cluster_of(cpus=4, CAPTION_KEY=KEY, RAY_TMPDIR=str(ray_folder)) as address,
    ):
        run = CaptionRun(tmp_path, server, ray_folder, address)
        assert len(set(run.hashes.values())) == IMAGES
        for kill in range(KILLS + 1):
            committed, before = (run.find_committed() if kill else set()), len(server.asked)
            if kill < KILLS:
                run.kill_after(points.randint(3, 40))
            else:
                finished = run.driver.run()
                assert finished.returncode == 0, finished.stderr
            asked = {pixels for pixels, _ in server.asked[before:]}
            assert asked.isdisjoint({run.hashes[key] for key in committed}), "it was committed"
        run.check_key_is_hidden()
        assert server.most_in_flight <= WORKERS * IN_FLIGHT
        assert len(server.answered) <= IMAGES + KILLS * WORKERS * CHUNKS_AT_ONCE * CHUNK
        check_captions(run)


@pytest.mark.slow
def test_ten_kills_of_workers(tmp_path: Path, ray_folder: Path) -> None:
    """The command lives on: others do what the killed one had at work, and nothing that is committed is asked again."""
    points = random.Random(18)
    allowed = [0]  # answers, of which the next kill is the last
    with (
        running_server(
            choose=meet_faults, key=KEY, holds=lambda server, _: len(server.answered) >= allowed[0]
        ) as server,
        cluster_of(cpus=4, CAPTION_KEY=KEY, RAY_TMPDIR=str(ray_folder)) as address,
    ):
        run = CaptionRun(tmp_path, server, ray_folder, address)
        process = run.driver.start()
        seen: list[tuple[set[str], int]] = []
        for _ in range(KILLS):
            allowed[0] = len(server.answered) + points.randint(3, 30)
            run.kill_worker(process, allowed[0], points)
            seen.append((run.find_committed(), len(server.asked)))
        allowed[0] = 10 * IMAGES
        printed = process.communicate()
        assert process.returncode == 0, printed
        assert KEY not in "".join(printed)
        for committed, before in seen:
            asked = {pixels for pixels, _ in server.asked[before:]}
            assert asked.isdisjoint({run.hashes[key] for key in committed}), "it was committed"
        assert seen[-1][0], "no kill came after a commit"
        run.check_key_is_hidden()
        assert server.most_in_flight <= WORKERS * IN_FLIGHT
        assert len(server.answered) + count_final(run) > IMAGES
        assert len(server.answered) <= IMAGES + KILLS * CHUNKS_AT_ONCE * CHUNK
        assert read_times(Folder(str(run.driver.output))).stages["captions.dense"]["deaths"] == KILLS
        check_captions(run)


def count_final(run: CaptionRun) -> int:
    """The images that are answered by no caption: a filter or a fault."""
    return sum(meet_faults(pixels) in ("filtered", "bad") for pixels in run.hashes.values())


def check_captions(run: CaptionRun) -> None:
    """Each image has its own caption, or the reason why it has none."""
    assert verify(str(run.driver.output)) == (SHARDS, [])
    found = rows(run.driver.output)
    assert [row["key"] for row in found] == sorted(run.hashes)
    met = set()
    for row in found:
        pixels = run.hashes[row["key"]]
        outcome = meet_faults(pixels)
        met.add(outcome)
        [caption] = row["captions"]
        status = STATUSES.get(outcome, "ok")
        text = write_caption(pixels, f"Describe {row['caption']}.") if status in ("ok", "truncated") else ""
        assert (caption["name"], caption["status"], caption["text"]) == ("dense", status, text)
        assert [failure["engine"] for failure in row["failures"]] == (["captions.dense"] if outcome == "bad" else [])
    assert met == set(OUTCOMES)
