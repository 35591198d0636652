"""Runs img2dataset over one Parquet file of URLs; a program of img2dataset's environment, without Shardloom's packages.

    python runner.py JOB.json

The URLs and their redirects come from the web, so one may name this machine's services, those of its network, or the
cloud's metadata service. The guard therefore checks the IP address of every connection, after name lookup and at each
redirect, and cuts off responses that are too long or too late. img2dataset starts processes that import this file
again, so the guard is installed at import. Sibling files are imported where they are used, since Shardloom's own
environment knows them under other module names.
"""

import contextlib
import functools
import http.client
import ipaddress
import json
import os
import signal
import socket
import string
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit, urlunsplit

READ_BYTES = 1 << 16  # bytes of a response between two checks of the limits
TALLY_SECONDS = 2.0  # between two writes of the number of URLs requested
TRANSIENT_CODES = (408, 425, 429)  # HTTP codes below 500 that mean: try later

_AROUND = "".join(map(chr, range(0x21)))  # what browsers strip from both ends of a URL
_WITHIN = str.maketrans("", "", "\t\n\r")  # what browsers remove anywhere in a URL

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")  # the deprecated form of IPv4 addresses in IPv6
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")  # all global unicast addresses allocated so far
_KINDS = ("unspecified", "loopback", "link_local", "multicast", "reserved", "private")
_OTHERS = {
    "shared": [ipaddress.ip_network("100.64.0.0/10")],  # carrier-grade NAT; metadata services of some clouds
    "reserved": [ipaddress.ip_network(net) for net in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20")],
    "platform": [ipaddress.ip_network("168.63.129.16/32")],  # Azure's platform services, at a public address
}


def find_refusal(address: str) -> str | None:
    """Returns in one word why this IP address is forbidden, or None for a public one."""
    try:
        ip = _unwrap_ipv4(ipaddress.ip_address(address))
    except ValueError:
        return "unresolved"
    for kind in _KINDS:
        if getattr(ip, f"is_{kind}"):
            return kind.replace("_", "-")
    for kind, networks in _OTHERS.items():
        if any(ip.version == network.version and ip in network for network in networks):
            return kind
    return None if ip.version == 4 or ip in _GLOBAL_V6 else "reserved"


def _unwrap_ipv4(ip: _Address) -> _Address:
    """Returns the IPv4 address that an IPv6 address embeds, else the address itself."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64 or (ip in _COMPATIBLE and int(ip) > 1):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


class RefusedAddressError(OSError):
    """Reports a connection to a forbidden address, which was not made."""


class AddressGuard:
    """Lets the process connect only to public IP addresses, and to those of hosts that are allowed by name."""

    def __init__(self, allowed: Iterable[str], look_up: Callable[..., Any] = socket.getaddrinfo) -> None:
        """`allowed` are names of hosts; `look_up` finds the addresses of any host, as `socket.getaddrinfo` does."""
        self._allowed = {_normalise_host(name) for name in allowed}
        self._addresses: set[str] = set()  # of allowed hosts
        self._look_up = look_up

    def install(self) -> None:
        """Installs the guard in this process, permanently."""
        socket.getaddrinfo = self.getaddrinfo
        sys.addaudithook(self.audit)  # catches connections without a lookup, or with another one

    def getaddrinfo(self, host: Any, *arguments: Any, **options: Any) -> Any:
        """Replaces `socket.getaddrinfo`. Raises `RefusedAddressError` if any of the addresses is forbidden."""
        found = self._look_up(host, *arguments, **options)
        addresses = [str(entry[4][0]) for entry in found]
        name = _normalise_host(host.decode("ascii", "replace") if isinstance(host, bytes) else str(host))
        if name in self._allowed:
            self._addresses.update(addresses)
            return found
        for address in addresses:  # even if it belongs to an allowed host: the name is allowed, not the address
            _check_address(address, "" if name == address else f" of {name[:100]}")
        return found

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Checks each connection, as a hook of `sys.addaudithook`. Only IP sockets can leave the machine."""
        if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
            address = str(arguments[1][0])
            if address not in self._addresses:
                _check_address(address)


def _check_address(address: str, of: str = "") -> None:
    """Raises `RefusedAddressError` for a forbidden address."""
    if (kind := find_refusal(address)) is not None:
        raise RefusedAddressError(f"refused {kind} address {address}{of}")


def _normalise_host(name: str) -> str:
    return name.strip("[]").rstrip(".").lower()


class RedirectHandler(urllib.request.HTTPRedirectHandler):
    """Follows redirects without reading their bodies, which the library would read to the end."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        fp.read = lambda *_: b""
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, req: Any, *arguments: Any) -> Any:
        """Returns the next request, within the same limit."""
        if (new := super().redirect_request(req, *arguments)) is not None:
            new.limit = req.limit  # type: ignore[attr-defined]
        return new


class LimitedOpener:
    """Replaces `urllib.request.urlopen`, with limits: only http and https, no proxy, bounded bytes and time.

    A permanent error of a URL (such as 404 or 403) is remembered: further retries of img2dataset send no request.
    """

    def __init__(self, max_bytes: int, answer_seconds: float, deadline: float, tally: Path) -> None:
        from connections import LimitedHttp, LimitedHttps, ResponseLimit  # type: ignore[import-not-found]

        self.max_bytes = max_bytes
        self._limit: Any = functools.partial(ResponseLimit, deadline, answer_seconds, max_bytes)
        self._tally = tally  # file that receives the number of URLs requested
        self._asked: set[str] = set()
        self._last_tally = 0.0
        self._permanent_errors: dict[str, str] = {}  # by URL
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            LimitedHttp,  # a proxy would look names up itself, out of the guard's sight
            LimitedHttps,
            RedirectHandler,
            urllib.request.HTTPDefaultErrorHandler,
            urllib.request.HTTPErrorProcessor,
            urllib.request.UnknownHandler,
        ):
            self._opener.add_handler(handler())

    def __call__(self, url: Any, data: Any = None, timeout: float = 10.0, **_: Any) -> Any:
        """Opens a URL. Returns the response, whose `read` observes the limits. Raises `OSError`."""
        url.limit = limit = self._limit()
        with convert_timeouts():
            limit.get_seconds_left()
            address = url.full_url
            self._update_tally(address, limit.started)
            if address in self._permanent_errors:
                raise OSError(self._permanent_errors[address])
            url.full_url = quote_address(address)
            response = self._open(url, data, timeout, address)
        if int(response.headers.get("Content-Length") or 0) > self.max_bytes:
            response.close()
            raise URLError(f"too large: {response.headers['Content-Length']} bytes")
        response.read = lambda: self._read(response, limit)
        return response

    def _open(self, url: Any, data: Any, timeout: float, address: str) -> Any:
        try:
            return self._opener.open(url, data, timeout)
        except HTTPError as error:
            error.close()
            if 400 <= error.code < 500 and error.code not in TRANSIENT_CODES:
                self._permanent_errors[address] = str(error)
            raise

    def _update_tally(self, address: str, now: float) -> None:
        self._asked.add(address)
        if now - self._last_tally >= TALLY_SECONDS:
            self._last_tally = now
            self._tally.write_text(str(len(self._asked)))

    def _read(self, response: Any, limit: Any) -> bytes:
        data, expected = bytearray(), response.length or 0
        with convert_timeouts():
            while piece := response.read1(READ_BYTES):
                data += piece
                if len(data) > self.max_bytes:
                    raise URLError(f"too large: over {self.max_bytes} bytes")
                limit.get_seconds_left()
        if len(data) < expected:
            raise http.client.IncompleteRead(bytes(data), expected - len(data))
        return bytes(data)


@contextlib.contextmanager
def convert_timeouts() -> Iterator[None]:
    """Converts timeouts to `URLError`, so that all read the same: on connecting, in a header or in the body."""
    try:
        yield
    except TimeoutError as error:
        raise URLError(error) from None


def quote_address(address: str) -> str:
    """Returns the URL as a browser would request it, with spaces and non-ASCII letters encoded.

    A URL that can't be parsed is returned unchanged, and the connection then fails.
    """
    address = address.strip(_AROUND).translate(_WITHIN)
    if address.isascii() and address.isprintable() and " " not in address:
        return address
    try:
        parts = urlsplit(address)
    except ValueError:  # brackets without an IPv6 address
        return address
    user, at, place = parts.netloc.rpartition("@")
    if not place.isascii():
        host, colon, port = place.partition(":")
        place = encode_host(host) + colon + port
    path, query = (quote(part, safe=string.punctuation) for part in (parts.path, parts.query))
    return urlunsplit(parts._replace(netloc=user + at + place, path=path, query=query))


def encode_host(host: str) -> str:
    """Encodes a host name of any script for name servers: by IDNA 2008, else IDNA 2003, else unchanged."""
    import idna

    try:
        return idna.encode(host, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):  # emoji, which only IDNA 2003 accepts, or too long a name
        try:
            return host.lower().encode("idna").decode()
        except UnicodeError:
            return host


def install_limits(job: dict[str, Any]) -> None:
    """Installs the address guard and the limits in this process."""
    sys.path.append(str(Path(__file__).parent))
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else it contacts the package index at import
    AddressGuard(job["allow_hosts"]).install()
    urllib.request.urlopen = LimitedOpener(  # type: ignore[assignment]
        job["max_bytes"], job["answer_seconds"], job["deadline"], Path(job["tally"])
    )


def exit_with_parent() -> None:
    """Ends this process and its children when its parent ends for any reason, which closes stdin.

    Reads past the buffer of `sys.stdin`: a thread that holds its lock makes Python abort at the end of the program.
    """
    while os.read(sys.stdin.fileno(), READ_BYTES):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main(job: dict[str, Any]) -> None:
    """Downloads the images; `job["img2dataset"]` holds the arguments of `img2dataset.download`."""
    threading.Thread(target=exit_with_parent, daemon=True).start()
    import img2dataset  # type: ignore[import-not-found]  # only in img2dataset's environment

    img2dataset.download(**job["img2dataset"])


if __name__ in ("__main__", "__mp_main__"):  # the second is its name in processes that img2dataset starts
    _JOB = json.loads(Path(sys.argv[1]).read_text())
    install_limits(_JOB)
    if __name__ == "__main__":
        main(_JOB)
    else:
        from adaptation import adapt_img2dataset  # type: ignore[import-not-found]

        adapt_img2dataset(_JOB["deadline"], _JOB["image_seconds"], _JOB["img2dataset"])
