"""Checks the address of an external Ray cluster before Ray is imported, which waits minutes for a head that is gone."""

import os
import re
import socket

from pipelines.cluster.ray_internals import HEAD_METHOD
from pipelines.recipes.base import RunOptions
from schemas.errors import ShardloomError, UsageError, to_one_line

ADDRESS_VARIABLE = "RAY_ADDRESS"
FOUND_BY_RAY = ("auto", "local")  # Ray itself finds the address
CONNECT_SECONDS = 4.0  # a lost packet is sent again after one second, and after three
ANSWER_SECONDS = 4.0

_OTHER_USES = {
    "http://": "for `ray job submit`",
    "https://": "for `ray job submit`",
    "ray://": "for Ray's client, which cannot run a graph of Ray Data",  # its driver would be on the cluster
}


def find_address(run: RunOptions) -> str | None:
    """Returns the address of the external cluster, or None where the run starts a local one."""
    return run.address or os.environ.get(ADDRESS_VARIABLE) or None


def check_address(run: RunOptions) -> None:
    """Raises `ShardloomError` where no head of Ray answers at the run's address, within seconds.

    Raises `UsageError` for an address that Ray does not take. Does nothing where Ray finds the address itself.
    """
    address = find_address(run)
    if address is None or address in FOUND_BY_RAY:
        return
    origin = "--address or run.address" if run.address else ADDRESS_VARIABLE
    advice = "pass another address" if run.address else f"unset {ADDRESS_VARIABLE} to start one on this machine"
    host, port = _parse_address(address, origin)
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except (OSError, UnicodeError) as error:  # UnicodeError: no name of a host
        what = error.strerror if isinstance(error, OSError) and error.strerror else to_one_line(error)
        raise ShardloomError(
            f"cannot use Ray at {address}, from {origin}: {what}; start that cluster, or {advice}"
        ) from None
    if not _is_head(f"[{host}]:{port}" if ":" in host else f"{host}:{port}"):
        raise ShardloomError(
            f"cannot use Ray at {address}, from {origin}: no head of Ray answers there (it listens on port 6379 unless "
            f"started with another; 8265 is the dashboard's); start that cluster, or {advice}"
        )


def _parse_address(address: str, origin: str) -> tuple[str, int]:
    """Returns host and port. Raises `UsageError` for anything but HOST:PORT."""
    if (found := re.fullmatch(r"\[?([^\s/\[\]]+?)\]?:(\d{1,5})", address)) is not None:
        return found[1], int(found[2])
    why = next((f", which is {use}" for scheme, use in _OTHER_USES.items() if address.startswith(scheme)), "")
    raise UsageError(f"{origin} is {address}{why}: name the head as HOST:PORT, such as 10.0.0.1:6379")


def _is_head(host_and_port: str) -> bool:
    """Returns whether a head of Ray answers, by its own protocol: a proxy accepts any connection.

    A cluster with TLS is not asked, because only Ray knows its certificates.
    """
    if os.environ.get("RAY_USE_TLS", "0").lower() not in ("", "0", "false"):
        return True
    import grpc

    with grpc.insecure_channel(host_and_port, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(HEAD_METHOD)(b"", timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:  # a refusal, such as of a missing token, is the answer of a head too
            absent = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNIMPLEMENTED)
            return error.code() not in absent
    return True
