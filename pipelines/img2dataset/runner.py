"""Runs img2dataset over one Parquet file of URLs: a program of its own environment, which knows nothing of ours.

    python runner.py JOB.json

The addresses come from the web, and so does what they redirect to: a URL in a data set may name the machine's own
services, its network's, or the cloud's metadata. So every connection of the process is judged by the address that it
really goes to, after names are looked up and at each redirect, and answers that are too long or too late are cut off.
img2dataset starts processes which import this file anew: what guards them is set up as it is imported. The files that
the program has beside this one are imported where they are used, for our own environment has them under other names.
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
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit, urlunsplit

CHUNK = 1 << 16  # bytes of an answer between two looks at the clock
TALLY_SECONDS = 2.0  # between two counts of what was asked for
PASSING = (408, 425, 429)  # of the codes from 400 to 499, those by which a host says that it may answer later

_AROUND = "".join(map(chr, range(0x21)))  # what browsers leave out of an address: at its ends, and in its midst
_WITHIN = str.maketrans("", "", "\t\n\r")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")  # IPv4 addresses as IPv6 had them first
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")  # all that was ever given out
_KINDS = ("unspecified", "loopback", "link_local", "multicast", "reserved", "private")
_OTHERS = {
    "shared": [ipaddress.ip_network("100.64.0.0/10")],  # behind a provider's NAT; some clouds' metadata
    "reserved": [ipaddress.ip_network(net) for net in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20")],
    "platform": [ipaddress.ip_network("168.63.129.16/32")],  # a cloud's own services, at an address of the public range
}


def refusal(address: str) -> str | None:
    """Why nothing may be asked of this IP address, in a word; None for a public one."""
    try:
        ip = _reached(ipaddress.ip_address(address))
    except ValueError:
        return "unresolved"
    for kind in _KINDS:
        if getattr(ip, f"is_{kind}"):
            return kind.replace("_", "-")
    for kind, networks in _OTHERS.items():
        if any(ip.version == network.version and ip in network for network in networks):
            return kind
    return None if ip.version == 4 or ip in _GLOBAL_V6 else "reserved"


def _reached(ip: _Address) -> _Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64 or (ip in _COMPATIBLE and int(ip) > 1):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


class Refused(OSError):
    """A connection that is not made."""


class AddressGuard:
    """Lets the process connect to public addresses, and to those of hosts that are allowed by name."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = {_host(name) for name in allowed}
        self._addresses: set[str] = set()  # of allowed hosts
        self._look_up = socket.getaddrinfo

    def install(self) -> None:
        """From here on, for good."""
        socket.getaddrinfo = self.getaddrinfo
        sys.addaudithook(self.audit)  # what connects without looking a name up, or looks it up anew, comes by here

    def getaddrinfo(self, host: Any, *arguments: Any, **options: Any) -> Any:
        """As `socket.getaddrinfo`. One forbidden address among the answers is enough to refuse them all."""
        answers = self._look_up(host, *arguments, **options)
        addresses = [str(answer[4][0]) for answer in answers]
        name = _host(host.decode("ascii", "replace") if isinstance(host, bytes) else str(host))
        if name in self._allowed:
            self._addresses.update(addresses)
            return answers
        for address in addresses:  # even if it is an allowed host's: the name is what was allowed
            _check(address, "" if name == address else f" of {name[:100]}")
        return answers

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """A hook for `sys.addaudithook`. Sockets of other families than IP stay on the machine."""
        if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
            address = str(arguments[1][0])
            if address not in self._addresses:
                _check(address)


def _check(address: str, of: str = "") -> None:
    """Raises `Refused`."""
    if (kind := refusal(address)) is not None:
        raise Refused(f"refused {kind} address {address}{of}")


def _host(name: str) -> str:
    return name.strip("[]").rstrip(".").lower()


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections unread: the library would read to its end whatever comes with one."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        fp.read = lambda *_: b""
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, req: Any, *arguments: Any) -> Any:
        """The next request, within the same limit."""
        if (new := super().redirect_request(req, *arguments)) is not None:
            new.limit = req.limit  # type: ignore[attr-defined]
        return new


class Opener:
    """`urllib.request.urlopen` within limits: http and https alone, no proxy, so many bytes, until a point in time.

    What a host has said once of an address (not here, not for you) holds: it is not asked again, however many retries
    img2dataset has.
    """

    def __init__(self, max_bytes: int, answer_seconds: float, deadline: float, tally: Path) -> None:
        from connections import AnswerLimit, LimitedHttp, LimitedHttps  # type: ignore[import-not-found]

        self.max_bytes = max_bytes
        self._limit: Any = functools.partial(AnswerLimit, deadline, answer_seconds, max_bytes)
        self._tally = tally  # is told how many addresses have been asked for
        self._asked: set[str] = set()
        self._told = 0.0
        self._answered: dict[str, str] = {}  # address -> what the host has said for good
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            LimitedHttp,  # a proxy would look names up itself, where nobody judges the answer
            LimitedHttps,
            Redirects,
            urllib.request.HTTPDefaultErrorHandler,
            urllib.request.HTTPErrorProcessor,
            urllib.request.UnknownHandler,
        ):
            self._opener.add_handler(handler())

    def __call__(self, url: Any, data: Any = None, timeout: float = 10.0, **_: Any) -> Any:
        """The answer, whose `read` keeps the limits."""
        url.limit = limit = self._limit()
        with late_as_url_error():
            limit.seconds_left()
            address = url.full_url
            self._tell(address, limit.begun)
            if address in self._answered:
                raise OSError(self._answered[address])
            url.full_url = quoted(address)
            answer = self._asked_of(url, data, timeout, address)
        if int(answer.headers.get("Content-Length") or 0) > self.max_bytes:
            answer.close()
            raise URLError(f"too large: {answer.headers['Content-Length']} bytes")
        answer.read = lambda: self._read(answer, limit)
        return answer

    def _asked_of(self, url: Any, data: Any, timeout: float, address: str) -> Any:
        try:
            return self._opener.open(url, data, timeout)
        except HTTPError as error:
            error.close()
            if 400 <= error.code < 500 and error.code not in PASSING:
                self._answered[address] = str(error)
            raise

    def _tell(self, address: str, now: float) -> None:
        self._asked.add(address)
        if now - self._told >= TALLY_SECONDS:
            self._told = now
            self._tally.write_text(str(len(self._asked)))

    def _read(self, answer: Any, limit: Any) -> bytes:
        data, expected = bytearray(), answer.length or 0
        with late_as_url_error():
            while piece := answer.read1(CHUNK):
                data += piece
                if len(data) > self.max_bytes:
                    raise URLError(f"too large: over {self.max_bytes} bytes")
                limit.seconds_left()
        if len(data) < expected:
            raise http.client.IncompleteRead(bytes(data), expected - len(data))
        return bytes(data)


@contextlib.contextmanager
def late_as_url_error() -> Iterator[None]:
    """Lets an answer that is late read the same wherever it is: as it connects, in a header, in its body."""
    try:
        yield
    except TimeoutError as error:
        raise URLError(error) from None


def quoted(address: str) -> str:
    """Returns the address as a browser would ask for it, where it has spaces, or letters of other scripts.

    What no browser can make sense of is returned as it is, for the connection to refuse.
    """
    address = address.strip(_AROUND).translate(_WITHIN)
    if address.isascii() and address.isprintable() and " " not in address:
        return address
    try:
        parts = urlsplit(address)
    except ValueError:  # brackets that hold no IPv6 address
        return address
    user, at, place = parts.netloc.rpartition("@")
    if not place.isascii():
        host, colon, port = place.partition(":")
        place = ascii_host(host) + colon + port
    path, query = (quote(part, safe=string.punctuation) for part in (parts.path, parts.query))
    return urlunsplit(parts._replace(netloc=user + at + place, path=path, query=query))


def ascii_host(host: str) -> str:
    """Returns a host's name of any script as name servers know it: by IDNA 2008, else 2003; else as it is."""
    import idna

    try:
        return idna.encode(host, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):  # pictographs, which only the older rules take, or too long a name
        try:
            return host.lower().encode("idna").decode()
        except UnicodeError:
            return host


def guard(job: dict[str, Any]) -> None:
    """Puts the limits in place."""
    sys.path.append(str(Path(__file__).parent))
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks the package index as it is imported
    AddressGuard(job["allow_hosts"]).install()
    urllib.request.urlopen = Opener(  # type: ignore[assignment]
        job["max_bytes"], job["answer_seconds"], job["deadline"], Path(job["tally"])
    )


def end_with_the_parent() -> None:
    """Ends this process and those it starts when the one that started it does, however it does."""
    sys.stdin.buffer.read()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main(job: dict[str, Any]) -> None:
    """Downloads. What `img2dataset` takes is in the job as it takes it."""
    threading.Thread(target=end_with_the_parent, daemon=True).start()
    import img2dataset  # type: ignore[import-not-found]  # of the other environment

    img2dataset.download(**job["img2dataset"])


if __name__ in ("__main__", "__mp_main__"):  # the second is what it is called in processes that img2dataset starts
    _JOB = json.loads(Path(sys.argv[1]).read_text())
    guard(_JOB)
    if __name__ == "__main__":
        main(_JOB)
    else:
        from adaptation import adapt_img2dataset  # type: ignore[import-not-found]

        adapt_img2dataset(_JOB["deadline"], _JOB["image_seconds"], _JOB["img2dataset"])
