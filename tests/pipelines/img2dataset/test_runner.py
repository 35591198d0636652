"""Nothing private is ever asked, whatever it is called and whoever leads there; no answer is too long or too late."""

import ipaddress
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.img2dataset import runner
from pipelines.img2dataset.connections import OVERHEAD_BYTES, ResponseLimit
from pipelines.img2dataset.failures import classify_failure
from pipelines.img2dataset.runner import AddressGuard, RefusedAddressError, find_refusal, quote_address
from tests.conftest import jpeg
from tests.pipelines.support.web_pages import HUGE, TRICKLES, Site, make_certificate, served_pages

PATIENCE = 600.0  # seconds: a busy machine is not a failure


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with served_pages() as running:
        yield running


@pytest.fixture
def server(site: Site) -> str:
    return site.address


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fd00:ec2::254", "private"),
        ("100.100.100.200", "shared"),
        ("168.63.129.16", "platform"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("240.0.0.1", "reserved"),
        ("192.0.0.9", "reserved"),  # Python 3.13 calls 192.0.0.8 private
        ("192.88.99.1", "reserved"),
        ("::ffff:10.0.0.1", "private"),
        ("::ffff:7f00:1", "loopback"),
        ("::127.0.0.1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("2002:a00:1::5", "private"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("64:ff9b:1::808:808", "reserved"),
        ("5f00::1", "reserved"),
        ("fec0::1", "reserved"),
        ("localhost", "unresolved"),
        ("2130706433", "unresolved"),
        ("", "unresolved"),
        ("8.8.8.8", None),
        ("172.32.0.1", None),
        ("100.128.0.1", None),
        ("2606:4700::1", None),
        ("::ffff:8.8.8.8", None),
        ("64:ff9b::808:808", None),
        ("2002:808:808::1", None),
    ],
)
def test_an_address_is_refused_for_its_kind(address: str, kind: str | None) -> None:
    assert find_refusal(address) == kind


PRIVATE = ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"]
PRIVATE += ["192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4", "192.0.2.0/24", "198.51.100.0/24"]
FORMS = ("{v4}", "::ffff:{v4}", "::{v4}", "64:ff9b::{v4}", "2002:{high:x}:{low:x}::{any:x}")


@given(st.sampled_from(PRIVATE), st.integers(0, (1 << 32) - 1), st.sampled_from(FORMS), st.integers(0, 0xFFFF))
def test_no_form_of_an_address_hides_where_it_leads(network: str, number: int, form: str, other: int) -> None:
    net = ipaddress.IPv4Network(network)
    inside = ipaddress.IPv4Address(int(net.network_address) + number % net.num_addresses)
    value = int(inside)
    assert find_refusal(form.format(v4=inside, high=value >> 16, low=value & 0xFFFF, any=other)) is not None


@given(st.ip_addresses(v=4), st.sampled_from(FORMS))
def test_all_forms_of_an_address_are_judged_alike(address: ipaddress.IPv4Address, form: str) -> None:
    value = int(address)
    if value > 1:  # :: and ::1 are themselves
        written = form.format(v4=address, high=value >> 16, low=value & 0xFFFF, any=7)
        assert find_refusal(written) == find_refusal(str(address))


@given(st.ip_addresses(v=6))
def test_what_the_library_calls_private_is_never_asked(address: ipaddress.IPv6Address) -> None:
    if find_refusal(str(address)) is None:
        stands_for = address.ipv4_mapped or address.sixtofour
        assert (stands_for or address).is_global or address in ipaddress.IPv6Network("64:ff9b::/96")


def test_names_are_judged_by_all_that_they_stand_for() -> None:
    answers = ["8.8.8.8", "10.0.0.1"]

    def look_up(*_: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 80)) for each in answers]

    guard = AddressGuard(["Intranet.Example.", "127.0.0.1"], look_up)
    with pytest.raises(RefusedAddressError, match=r"^refused private address 10.0.0.1 of evil.example$"):
        guard.getaddrinfo("evil.example", 80)
    answers[:] = ["10.0.0.7"]
    with pytest.raises(RefusedAddressError):
        guard.audit("socket.connect", (None, ("10.0.0.7", 80)))
    assert len(guard.getaddrinfo("intranet.example", 80)) == 1
    assert len(guard.getaddrinfo(b"INTRANET.example.", 80)) == 1
    guard.audit("socket.connect", (None, ("10.0.0.7", 80)))
    with pytest.raises(RefusedAddressError, match=r"^refused private address 10.0.0.8$"):
        guard.audit("socket.connect", (None, ("10.0.0.8", 80)))
    with pytest.raises(RefusedAddressError, match="unresolved"):
        guard.audit("socket.sendto", (None, ("localhost", 80)))
    guard.audit("socket.connect", (None, "/run/a.socket"))
    guard.audit("socket.connect", (None, ("8.8.8.8", 80)))
    guard.audit("open", ("10.0.0.8",))
    answers[:] = ["127.0.0.1"]
    assert len(guard.getaddrinfo("127.0.0.1", 80)) == 1
    with pytest.raises(RefusedAddressError, match=r"^refused loopback address 127.0.0.1 of localhost$"):
        guard.getaddrinfo("localhost", 80)  # only the name was allowed


ASK = """
import json, sys, time, urllib.request
from runner import install_limits
job = json.loads(sys.argv[1])
install_limits(job | {"deadline": time.time() + job["deadline"]})
for url in job["urls"]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url), timeout=job["timeout"]) as answer:
            print(json.dumps(len(answer.read())))
    except Exception as error:
        print(json.dumps(str(error)))
"""


def asked(urls: list[str], **job: Any) -> list[int | str]:
    """The length of each answer, or why there is none, of a process that is guarded as img2dataset's are.

    Its deadline is in seconds after it has started, however long that takes.
    """
    values = {"urls": urls, "allow_hosts": ["127.0.0.1"], "max_bytes": 100_000, "answer_seconds": PATIENCE}
    values |= {"timeout": PATIENCE, "deadline": PATIENCE, "tally": os.devnull} | job
    folder = Path(runner.__file__).parent
    proxies = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    command = [sys.executable, "-c", ASK, json.dumps(values)]
    done = subprocess.run(command, cwd=folder, env=os.environ | proxies, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_answers_keep_to_the_limits(server: str) -> None:
    port = server.rpartition(":")[2]
    expected: dict[str, int | str] = {
        f"{server}/good/1.jpg": len(jpeg(1)),
        f"{server}/missing/1": "HTTP Error 404: Not Found",
        f"{server}/huge/1": f"<urlopen error too large: {HUGE} bytes>",
        f"{server}/endless/1": "<urlopen error too large: over 100000 bytes>",
        f"{server}/short/1": f"IncompleteRead({len(jpeg(1)) - 50} bytes read, 50 more expected)",
        f"{server}/page/1": len(b"<html>no picture</html>"),
        f"{server}/to/good": len(jpeg(3)),
        f"{server}/wordy/4": len(jpeg(4)),
        f"{server}/to/http://10.255.0.1/x.jpg": "<urlopen error refused private address 10.255.0.1>",
        f"{server}/to/http://127.0.0.2:{port}/good/1.jpg": "<urlopen error refused loopback address 127.0.0.2>",
        f"{server}/to/ftp://127.0.0.1/x": "<urlopen error unknown url type: ftp>",
        f"http://localhost:{port}/good/1.jpg": "<urlopen error refused loopback address 127.0.0.1 of localhost>",
        "file:///etc/passwd": "<urlopen error unknown url type: file>",
    }
    assert dict(zip(expected, asked([*expected]), strict=True)) == expected


def test_what_a_host_says_for_good_is_not_asked_again(site: Site) -> None:
    paths = [f"/code/{code}/again" for code in (404, 403, 410, 429, 408, 500, 503)]
    first, second, third = (asked([site.address + path for path in paths]) for _ in range(3))
    assert first == second == third
    assert {path: site.requests[path] for path in paths} == dict.fromkeys(paths, 3)  # of three processes
    said = asked([site.address + path for path in paths] * 3)
    assert said == first * 3
    assert [site.requests[path] - 3 for path in paths] == [1, 1, 1, 3, 3, 3, 3]


def test_addresses_are_asked_for_as_browsers_do(site: Site) -> None:
    page = len(b"<html>no picture</html>")
    assert asked([f"{site.address}/page/a b/\u00e9?q=\u5b57 1&r=%20", f"{site.address}/page/%C3%A9"]) == [page, page]
    assert site.requests["/page/a%20b/%C3%A9?q=%E5%AD%97%201&r=%20"] == 1
    assert site.requests["/page/%C3%A9"] == 1
    (error,) = asked(["http://127.0.0.1:x/1.jpg"])
    assert error == "nonnumeric port: 'x'"


def test_hosts_may_be_of_any_script() -> None:
    assert quote_address("http://Пример.рф:8080/\u00e9?q=a b") == "http://xn--e1afmkfd.xn--p1ai:8080/%C3%A9?q=a%20b"
    assert quote_address("http://b\u00fccher.example/\u00e9") == "http://xn--bcher-kva.example/%C3%A9"
    assert quote_address("http://fa\u00df.example/\u00e9") == "http://xn--fa-hia.example/%C3%A9", "not fass.example"
    assert quote_address("http://\u2615.example/") == "http://xn--53h.example/"
    assert quote_address("http://User:Pass@B\u00fccher.example/x") == "http://User:Pass@xn--bcher-kva.example/x"


@pytest.mark.parametrize(
    "address",
    [
        "http://" + "\u00fc" * 64 + ".example/",
        "http://\u05d0a\u05d0.example/",
        "http://\u00fc..example/",
        "http://a\u2100b.example/\u00e9",
        "http://[::1/\u00e9",
        "http://[\u00fc]/",
        "http://\ufffd\u200d.example/",
    ],
)
def test_hosts_that_no_name_server_knows_cost_their_address_alone(address: str) -> None:
    assert quote_address(address)
    (error,) = asked([address], allow_hosts=[])
    assert classify_failure("failed_to_download", str(error)) == "bad_address", error


def test_space_around_an_address_is_none_of_it() -> None:
    assert quote_address(" \thttp://a.example/b\n.jpg \r\n") == "http://a.example/b.jpg"
    assert quote_address("http://a.example/\x00b c") == "http://a.example/%00b%20c"


def test_redirections_in_a_circle_end(server: str) -> None:
    (error,) = asked([f"{server}/to/round"])
    assert str(error).startswith("HTTP Error 302: The HTTP server returned a redirect error")


def test_no_answer_is_waited_for_without_end(server: str) -> None:
    """The first answer never begins; the second never ends, and none is given more time than it takes to begin."""
    (silent,) = asked([f"{server}/slow/1"], timeout=0.3)
    assert str(silent).removeprefix("<urlopen error ").removesuffix(">") == "timed out"
    assert asked([f"{server}/drip/1"], answer_seconds=0) == [
        "<urlopen error timed out: not all there after 0 s>",
    ]


@pytest.mark.parametrize("page", [*(f"trickle/{where}" for where in TRICKLES), "round/1"])
def test_the_whole_of_an_answer_has_one_limit(server: str, page: str) -> None:
    """No wait of theirs is long; those of a redirection to the next add up as well."""
    assert asked([f"{server}/{page}"], answer_seconds=0.3) == ["<urlopen error timed out: not all there after 0.3 s>"]
    assert asked([f"{server}/{page}"], deadline=0.3) == ["<urlopen error deadline>"]


def test_an_answer_in_pieces_within_its_limit_is_had(server: str) -> None:
    assert asked([f"{server}/good/1.jpg"] * 2, answer_seconds=PATIENCE) == [len(jpeg(1))] * 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls") / "certificate.pem")


@pytest.fixture(scope="module")
def tls_server(certificate: Path) -> Iterator[str]:
    with served_pages(certificate) as running:
        yield running.address


def test_https_keeps_to_the_limits_too(tls_server: str, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (untrusted,) = asked([f"{tls_server}/good/1.jpg"])
    assert "CERTIFICATE_VERIFY_FAILED" in str(untrusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    expected: dict[str, int | str] = {
        f"{tls_server}/good/1.jpg": len(jpeg(1)),
        f"{tls_server}/to/good": len(jpeg(3)),
        f"{tls_server}/missing/1": "HTTP Error 404: Not Found",
        f"{tls_server}/endless/1": "<urlopen error too large: over 100000 bytes>",
        f"{tls_server}/to/https://10.255.0.1/x.jpg": "<urlopen error refused private address 10.255.0.1>",
    }
    assert dict(zip(expected, asked([*expected]), strict=True)) == expected
    late = "<urlopen error timed out: not all there after 0.5 s>"
    assert asked([f"{tls_server}/trickle/{where}" for where in ("status", "chunks")], answer_seconds=0.5) == [late] * 2


def test_a_handshake_that_never_comes_has_the_same_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        (said,) = asked([address], answer_seconds=0.5)
        assert "timed out" in str(said)


def test_what_is_around_a_body_is_limited_as_well() -> None:
    limit = ResponseLimit(time.time() + PATIENCE, PATIENCE, 100)
    limit.count(100 + OVERHEAD_BYTES)
    with pytest.raises(OSError, match=r"^too large: over 100 bytes with all that is around them"):
        limit.count(1)


def test_without_a_name_that_is_allowed_the_machine_itself_is_refused(server: str) -> None:
    assert asked([f"{server}/good/1.jpg"], allow_hosts=[]) == ["<urlopen error refused loopback address 127.0.0.1>"]


def test_after_the_deadline_nothing_is_asked(server: str) -> None:
    assert asked([f"{server}/good/1.jpg"], deadline=-1) == ["<urlopen error deadline>"]
