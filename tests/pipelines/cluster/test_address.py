"""An address of Ray at which no head answers is named within seconds, and before Ray is imported."""

import os
import socket
import subprocess
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import grpc
import pytest

from pipelines.cluster.address import check_address
from pipelines.cluster.ray_internals import HEAD_METHOD
from pipelines.recipes.base import RunOptions
from schemas.errors import ShardloomError, UsageError
from tests.conftest import REPOSITORY, jpeg, write_shard
from tests.pipelines.support.drivers import free_ports

UNSET = "unset RAY_ADDRESS to start one on this machine"


class Refusal(grpc.GenericRpcHandler):
    """Answers each call as a head does that asks for a token."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
            raise AssertionError

        self.calls.append(handler_call_details.method)
        return grpc.unary_unary_rpc_method_handler(refuse)


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "localhost:{}"])
def test_a_head_that_answers(form: str) -> None:
    head = Refusal()
    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[head])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        check_address(RunOptions(address=form.format(port)))
        assert head.calls == [HEAD_METHOD]
    finally:
        server.stop(None)


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(ShardloomError) as error:
        check_address(RunOptions())
    fault = "Connection refused; start that cluster, or"
    assert str(error.value) == f"cannot use Ray at 127.0.0.1:{port}, from RAY_ADDRESS: {fault} {UNSET}"
    with pytest.raises(ShardloomError) as error:
        check_address(RunOptions(address=f"localhost:{port}"))
    said = f"cannot use Ray at localhost:{port}, from --address or run.address: {fault} pass another address"
    assert str(error.value) == said
    with pytest.raises(ShardloomError, match=r"^cannot use Ray at no-such-host\.invalid:6379, from --address"):
        check_address(RunOptions(address="no-such-host.invalid:6379"))


def test_something_else_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dashboard, and what never answers."""
    monkeypatch.setattr("pipelines.cluster.address.ANSWER_SECONDS", 0.5)
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server, socket.create_server(("127.0.0.1", 0)) as mute:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for port in (server.server_port, mute.getsockname()[1]):
            with pytest.raises(
                ShardloomError, match=r": no head of Ray answers there \(it listens on port 6379 unless "
            ):
                check_address(RunOptions(address=f"127.0.0.1:{port}"))
        server.shutdown()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://127.0.0.1:8265", ", which is for `ray job submit`"),
        ("ray://127.0.0.1:10001", ", which is for Ray's client, which cannot run a graph of Ray Data"),
        ("head", ""),
        ("head:port", ""),
        ("tcp://head:6379", ""),
    ],
)
def test_addresses_that_ray_does_not_take(address: str, why: str) -> None:
    with pytest.raises(UsageError) as error:
        check_address(RunOptions(address=address))
    line = f"--address or run.address is {address}{why}: name the head as HOST:PORT, such as 10.0.0.1:6379"
    assert str(error.value) == line


def test_the_command_needs_no_ray_to_find_out(tmp_path: Path) -> None:
    write_shard(tmp_path / "0.tar", [jpeg(0)])
    (port,) = free_ports(1)
    script = f"""
import sys
from pipelines.cli.app import main
try:
    main(["annotate", "tags", "-i", "{tmp_path}/0.tar", "-o", "{tmp_path}/out"])
finally:
    assert not {{"ray", "torch"}} & sys.modules.keys()
"""
    environment = os.environ | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120
    )
    *progress, last = done.stderr.splitlines()
    assert all(line.startswith("annotate: ") for line in progress)
    assert last.startswith(f"error: cannot use Ray at 127.0.0.1:{port}, from RAY_ADDRESS: Connection refused; ")
    assert done.returncode == 1
