"""The guard is installed wherever img2dataset runs: in the program's own process and in those that it starts."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.img2dataset import runner

IMG2DATASET = """
import json, multiprocessing, socket, urllib.request
from pathlib import Path


def probe(port):
    said = {}
    for name, connect in {
        "name": lambda: socket.create_connection(("localhost", port)),
        "address": lambda: socket.create_connection(("127.0.0.1", port)),
        "no lookup": lambda: socket.socket().connect(("127.0.0.1", port)),
        "error code": lambda: socket.socket().connect_ex(("127.0.0.1", port)),
        "datagram": lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port)),
        "url": lambda: urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/"), timeout=5),
    }.items():
        try:
            connect()
            said[name] = "connected"
        except OSError as error:
            said[name] = str(error)
    return said


def download(port, report):
    here = probe(port)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(probe, (port,))
    Path(report).write_text(json.dumps([here, there]))
"""
"""A package in img2dataset's place that tries to reach this machine in all ways, as a redirection could make it do."""

PATCHED = """
class Resizer:
    pass


class WebDatasetSampleWriter:
    def write(self):
        pass
"""
"""What `adaptation.py` patches of img2dataset."""


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a server on this machine that accepts every connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def run(folder: Path, port: int, *allowed: str) -> list[dict[str, str]]:
    """What each way of reaching the port came to: in the program's process, and in one that img2dataset started."""
    package = folder / "img2dataset"
    package.mkdir()
    (package / "__init__.py").write_text(IMG2DATASET)
    for name in ("downloader", "resizer", "writer"):
        (package / f"{name}.py").write_text(PATCHED)
    job = {
        "allow_hosts": list(allowed),
        "max_bytes": 1000,
        "answer_seconds": 5.0,
        "deadline": time.time() + 600,
        "image_seconds": 1,
        "tally": str(folder / "tally"),
        "img2dataset": {"port": port, "report": str(folder / "report.json")},
    }
    (folder / "job.json").write_text(json.dumps(job))
    command = [sys.executable, runner.__file__, str(folder / "job.json")]
    # it ends with its parent, which it knows by its input
    with subprocess.Popen(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        printed = process.stdout.read().decode()
        assert process.wait() == 0, printed
    found: list[dict[str, str]] = json.loads((folder / "report.json").read_bytes())
    return found


def test_no_process_of_img2dataset_reaches_this_machine(tmp_path: Path, port: int) -> None:
    """By a name and by an address, and past the lookup that the guard replaces as well."""
    refused = "refused loopback address 127.0.0.1"
    expected = dict.fromkeys(("address", "no lookup", "error code", "datagram"), refused)
    expected |= {"url": f"<urlopen error {refused}>"}
    for found in run(tmp_path, port):
        assert re.fullmatch(r"refused loopback address (127\.0\.0\.1|::1) of localhost", found.pop("name"))
        assert found == expected


def test_a_host_that_is_allowed_is_reached(tmp_path: Path, port: int) -> None:
    """By its name, which has to be looked up first: else the connections above would fail without a guard too."""
    for found in run(tmp_path, port, "localhost"):
        assert found["name"] == found["no lookup"] == "connected"
        assert found["address"] == "refused loopback address 127.0.0.1"
