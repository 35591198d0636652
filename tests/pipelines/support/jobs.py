"""A Ray cluster with token authentication, and `ray job` to run commands of this checkout on it."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.pipelines.support.drivers import AGENT_PORTS, TIMEOUT, free_ports

RAY = Path(sys.executable).parent / "ray"
PORTS = (
    *AGENT_PORTS,
    *("port", "dashboard-port", "metrics-export-port", "node-manager-port"),
    *("object-manager-port", "ray-client-server-port"),
)


class Jobs:
    """A running cluster, as those see it who have its token."""

    def __init__(self, environment: Mapping[str, str], url: str, token: str) -> None:
        self.environment, self.url, self.token = environment, url, token

    def ray(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A command of `ray job`, run in the checkout."""
        return subprocess.run(
            [RAY, "job", *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        )

    def submit(
        self, name: str, *command: str, wait: bool = True, working_dir: Path = Path(), **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Runs `python -m` with these arguments as a job with these environment variables. Its log is in the output."""
        flags = ["--submission-id", name, "--working-dir", str(working_dir), *([] if wait else ["--no-wait"])]
        flags += ["--runtime-env-json", json.dumps({"env_vars": variables})]
        return self.ray("submit", *flags, "--", "python", "-m", *command)

    def status(self, name: str) -> str:
        """The job's status, as SUCCEEDED."""
        return str(self.get(f"/api/jobs/{name}")["status"])

    def log(self, name: str) -> str:
        """What the job has printed."""
        return str(self.get(f"/api/jobs/{name}/logs")["logs"])

    def get(self, path: str) -> dict[str, object]:
        """An answer of the cluster's dashboard."""
        asked = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(asked, timeout=TIMEOUT) as answer:
            found: dict[str, object] = json.load(answer)
        return found


@contextlib.contextmanager
def job_cluster(cpus: int, **variables: str) -> Iterator[Jobs]:
    """A cluster with its own ports, folder and token, whose workers have these environment variables."""
    folder = Path(tempfile.mkdtemp(prefix="jobs", dir="/tmp"))  # not pytest's: paths of sockets must be short
    (path := folder / "token").write_text(token := secrets.token_hex(32))
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    url = f"http://127.0.0.1:{ports['dashboard-port']}"
    environment = os.environ | {
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",  # a job's `python` is that of its cluster
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(path),
        "RAY_API_SERVER_ADDRESS": url,
    }
    start = [RAY, "start", "--head", "--block", f"--temp-dir={folder}/ray", f"--num-cpus={cpus}"]
    start += [f"--{name}={port}" for name, port in ports.items()]
    head = subprocess.Popen(
        start,
        env=environment | variables,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert head.stdout is not None
        said = []
        assert any("Ray runtime started" in line for line in head.stdout if not said.append(line)), "".join(said)
        threading.Thread(target=head.stdout.read, daemon=True).start()
        yield Jobs(environment, url, token)
    finally:
        head.terminate()  # not `ray stop`, which would stop every other Ray on this machine too
        with contextlib.suppress(subprocess.TimeoutExpired):
            head.wait(timeout=10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)
        head.communicate()
        shutil.rmtree(folder, ignore_errors=True)
