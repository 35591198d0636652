"""Images are had by their addresses, joined right, each failure with its reason; nothing private is ever asked.

The runs with img2dataset itself need its environment, which pip makes in minutes: they run where one was made before,
or where SHARDLOOM_TEST_DOWNLOADS=1 says that it may be.
"""

import contextlib
import io
import ipaddress
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation.document_filters import DocumentFilters
from curation.filters import ImageFilters
from curation.sources import SOURCES
from pipelines import download
from pipelines.cli import main
from pipelines.download import Losses, Part, Receipt, _salvage, fetch, is_web_address, kind_of, listed
from pipelines.environments import run_img2dataset
from pipelines.environments.python import environment_of, python_of
from pipelines.environments.run_img2dataset import AddressGuard, Refused, refusal
from pipelines.ingest import ingest, plan
from pipelines.ingest_unit import Unit
from pipelines.progress import Progress
from pipelines.recipe import DownloadOptions, IngestRecipe, IngestRun
from pipelines.verify import verify
from schemas.manifest import seal
from schemas.quarantine import Rejected
from schemas.storage import Folder
from schemas.tar_reader import TarReader
from tests.conftest import jpeg, write_shard

HUGE = 300_000
TIMEOUT = 2.0  # and twice that for all of an answer: a busy machine is no failure


class Pages(BaseHTTPRequestHandler):
    """Answers of all kinds. `/good/7.jpg` is picture 7."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        kind, _, number = self.path.strip("/").partition("/")
        with contextlib.suppress(OSError):
            getattr(self, f"_{kind}", self._missing)(number.removesuffix(".jpg"))

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _send(self, data: bytes, kind: str = "image/jpeg", **headers: str) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def _good(self, number: str) -> None:
        self._send(jpeg(int(number)))

    def _missing(self, number: str) -> None:
        self.send_error(404, "Not Found")

    def _slow(self, number: str) -> None:
        self.server.done.wait(20)  # type: ignore[attr-defined]

    def _drip(self, number: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        while not self.server.done.wait(0.05):  # type: ignore[attr-defined]
            self.wfile.write(b"x")

    def _page(self, number: str) -> None:
        self._send(b"<html>no picture</html>", "text/html")

    def _huge(self, number: str) -> None:
        self._send(bytes(HUGE))

    def _endless(self, number: str) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        while True:
            self.wfile.write(bytes(1 << 16))

    def _short(self, number: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(jpeg(1))))
        self.end_headers()
        self.wfile.write(jpeg(1)[:-50])
        self.close_connection = True

    def _noai(self, number: str) -> None:
        self._send(jpeg(1), X_Robots_Tag="noai")

    def _to(self, url: str) -> None:
        self.send_response(302)
        self.send_header("Location", {"good": "/good/3.jpg", "round": "/to/round"}.get(url, url))
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server of these pages."""
    served = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    served.done = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.done.set()  # type: ignore[attr-defined]
    served.shutdown()
    served.server_close()


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
        ("192.0.0.8", "reserved"),
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
    assert refusal(address) == kind


PRIVATE = ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"]
PRIVATE += ["192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4", "192.0.2.0/24", "198.51.100.0/24"]
FORMS = ("{v4}", "::ffff:{v4}", "::{v4}", "64:ff9b::{v4}", "2002:{high:x}:{low:x}::{any:x}")


@given(st.sampled_from(PRIVATE), st.integers(0, (1 << 32) - 1), st.sampled_from(FORMS), st.integers(0, 0xFFFF))
def test_no_form_of_an_address_hides_where_it_leads(network: str, number: int, form: str, other: int) -> None:
    net = ipaddress.IPv4Network(network)
    inside = ipaddress.IPv4Address(int(net.network_address) + number % net.num_addresses)
    value = int(inside)
    assert refusal(form.format(v4=inside, high=value >> 16, low=value & 0xFFFF, any=other)) is not None


@given(st.ip_addresses(v=4), st.sampled_from(FORMS))
def test_all_forms_of_an_address_are_judged_alike(address: ipaddress.IPv4Address, form: str) -> None:
    value = int(address)
    if value > 1:  # :: and ::1 are themselves
        written = form.format(v4=address, high=value >> 16, low=value & 0xFFFF, any=7)
        assert refusal(written) == refusal(str(address))


@given(st.ip_addresses(v=6))
def test_what_the_library_calls_private_is_never_asked(address: ipaddress.IPv6Address) -> None:
    if refusal(str(address)) is None:
        stands_for = address.ipv4_mapped or address.sixtofour
        assert (stands_for or address).is_global or address in ipaddress.IPv6Network("64:ff9b::/96")


def answers(*addresses: str) -> Any:
    """A resolver that always gives these."""
    return lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 80)) for each in addresses]


def test_names_are_judged_by_all_that_they_stand_for() -> None:
    guard = AddressGuard(["Intranet.Example.", "127.0.0.1"])
    guard._look_up = answers("8.8.8.8", "10.0.0.1")
    with pytest.raises(Refused, match=r"^refused private address 10.0.0.1 of evil.example$"):
        guard.getaddrinfo("evil.example", 80)
    guard._look_up = answers("10.0.0.7")
    with pytest.raises(Refused):
        guard.audit("socket.connect", (None, ("10.0.0.7", 80)))
    assert len(guard.getaddrinfo("intranet.example", 80)) == 1
    assert len(guard.getaddrinfo(b"INTRANET.example.", 80)) == 1
    guard.audit("socket.connect", (None, ("10.0.0.7", 80)))
    with pytest.raises(Refused, match=r"^refused private address 10.0.0.8$"):
        guard.audit("socket.connect", (None, ("10.0.0.8", 80)))
    with pytest.raises(Refused, match="unresolved"):
        guard.audit("socket.sendto", (None, ("localhost", 80)))
    guard.audit("socket.connect", (None, "/run/a.socket"))
    guard.audit("socket.connect", (None, ("8.8.8.8", 80)))
    guard.audit("open", ("10.0.0.8",))
    guard._look_up = answers("127.0.0.1")
    assert len(guard.getaddrinfo("127.0.0.1", 80)) == 1
    with pytest.raises(Refused, match=r"^refused loopback address 127.0.0.1 of localhost$"):
        guard.getaddrinfo("localhost", 80)  # only the name was allowed


ASK = """
import json, sys, urllib.request
from run_img2dataset import guard
job = json.loads(sys.argv[1])
guard(job)
for url in job["urls"]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url), timeout=job["timeout"]) as answer:
            print(json.dumps(len(answer.read())))
    except Exception as error:
        print(json.dumps(str(error)))
"""


def asked(urls: list[str], **job: Any) -> list[int | str]:
    """The length of each answer, or why there is none, of a process that is guarded as img2dataset's are."""
    values = {"urls": urls, "allow_hosts": ["127.0.0.1"], "max_bytes": 100_000, "answer_seconds": 2 * TIMEOUT}
    values |= {"timeout": TIMEOUT, "deadline": time.time() + 600} | job
    folder = Path(run_img2dataset.__file__).parent
    proxies = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    command = [sys.executable, "-c", ASK, json.dumps(values)]
    done = subprocess.run(command, cwd=folder, env=os.environ | proxies, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_answers_keep_to_the_limits(server: str) -> None:
    port = server.rpartition(":")[2]
    kinds = ["good/1.jpg", "missing/1", "slow/1", "drip/1", "huge/1", "endless/1", "short/1", "page/1", "to/good"]
    kinds += [
        "to/http://10.255.0.1/x.jpg",
        f"to/http://127.0.0.2:{port}/good/1.jpg",
        "to/ftp://127.0.0.1/x",
        "to/round",
    ]
    found = asked(
        [f"{server}/{kind}" for kind in kinds] + [f"http://localhost:{port}/good/1.jpg", "file:///etc/passwd"]
    )
    assert found[:12] == [
        len(jpeg(1)),
        "HTTP Error 404: Not Found",
        "timed out",
        f"<urlopen error timed out: not all there after {2 * TIMEOUT:g} s>",
        f"<urlopen error too large: {HUGE} bytes>",
        "<urlopen error too large: over 100000 bytes>",
        f"IncompleteRead({len(jpeg(1)) - 50} bytes read, 50 more expected)",
        len(b"<html>no picture</html>"),
        len(jpeg(3)),
        "<urlopen error refused private address 10.255.0.1>",
        "<urlopen error refused loopback address 127.0.0.2>",
        "<urlopen error unknown url type: ftp>",
    ]
    assert str(found[12]).startswith("HTTP Error 302: The HTTP server returned a redirect error")
    assert found[13:] == [
        "<urlopen error refused loopback address 127.0.0.1 of localhost>",
        "<urlopen error unknown url type: file>",
    ]


def test_without_a_name_that_is_allowed_the_machine_itself_is_refused(server: str) -> None:
    assert asked([f"{server}/good/1.jpg"], allow_hosts=[]) == ["<urlopen error refused loopback address 127.0.0.1>"]


def test_after_the_deadline_nothing_is_asked(server: str) -> None:
    assert asked([f"{server}/good/1.jpg"], deadline=time.time() - 1) == ["<urlopen error deadline>"]


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        ("failed_to_resize", "Image decoding error", "not_an_image"),
        ("failed_to_download", "HTTP Error 404: Not Found", "http_404"),
        ("failed_to_download", "<urlopen error refused link-local address 169.254.169.254 of a.b>", "refused_address"),
        ("failed_to_download", "<urlopen error deadline>", "deadline"),
        ("failed_to_download", "<urlopen error too large: 9 bytes>", "too_large"),
        ("failed_to_download", "timed out", "timed_out"),
        ("failed_to_download", "<urlopen error unknown url type: ftp>", "not_http"),
        ("failed_to_download", "Use of image disallowed by X-Robots-Tag directive", "forbidden_by_host"),
        ("failed_to_download", "<urlopen error [Errno -2] Name or service not known>", "unknown_host"),
        ("failed_to_download", "<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] a>", "bad_certificate"),
        ("failed_to_download", "<urlopen error [Errno 111] Connection refused>", "no_answer"),
        ("failed_to_download", "", "no_answer"),
    ],
)
def test_failures_are_counted_by_kind(status: str, message: str, kind: str) -> None:
    assert kind_of(status, message) == kind


def test_only_http_is_asked_for() -> None:
    asked = ["http://a/b", "HTTPS://a", "ftp://a", "file:///etc/passwd", "a.jpg", "", "http://\ud800"]
    assert [is_web_address(address) for address in asked] == [True, True] + [False] * 5


def recipe_of(tmp_path: Path, urls: list[str], **options: Any) -> IngestRecipe:
    """A set of captions of these images."""
    lines = "".join(f"{url}\tcaption of {number}\n" for number, url in enumerate(urls))
    (tmp_path / "set.tsv").write_text(lines)
    run = IngestRun(workers=1, download_threads=8)
    values = {"allow_hosts": ["127.0.0.1"], "retries": 0, "timeout": TIMEOUT, "answer_seconds": 2 * TIMEOUT} | options
    return IngestRecipe(
        source="cc12m",
        input=[str(tmp_path / "set.tsv")],
        download=DownloadOptions(**values),
        samples_per_shard=5,
        filters=DocumentFilters(image=ImageFilters(min_side=1)),
        run=run,
    )


def units_of(recipe: IngestRecipe) -> list[Unit]:
    """Its units of work."""
    with Progress("plan", 1, quiet=True) as progress:
        return plan(recipe, SOURCES[recipe.source], recipe.input, progress)


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_each_address_is_listed_once_in_parts_that_the_input_decides(
    tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "SORTED_AT_ONCE", at_once)
    urls = [f"http://host{number % 3}.example/{number % 17}.jpg" for number in range(40)]
    recipe = recipe_of(tmp_path, [*urls, "ftp://a.example/1.jpg"], urls_per_shard=6)
    output = Folder(str(tmp_path / "out"))
    with Progress("list", 1, quiet=True) as progress:
        parts = listed(recipe, output, units_of(recipe), progress)
    paths = sorted((tmp_path / "out/downloads/urls").iterdir())
    held = [pl.read_parquet(path)["url"].to_list() for path in paths]
    assert [path.stem for path in paths] == [part.name for part in parts]
    assert [len(each) for each in held] == [part.urls for part in parts]
    assert max(map(len, held)) <= 6
    assert sorted(url for each in held for url in each) == sorted({*urls})
    hashes = [download._hash(url) for each in held for url in each]
    assert hashes == sorted(hashes)
    assert [part.first for part in parts] == [download._hash(each[0]) for each in held]
    with Progress("list", 1, quiet=True) as progress:
        assert listed(recipe, output, [], progress) != parts  # of another input
        assert listed(recipe, output, units_of(recipe), progress) == parts
        assert progress.items == len({*urls})


def whole_part(output: Folder, options: DownloadOptions) -> tuple[Part, Receipt]:
    """A part that was downloaded before."""
    part = Part(0, 2, 0, "a" * 64)
    output.write("downloads/images/downloaded_00000000.tar", b"tar")
    side = pl.DataFrame(
        {
            "url": ["http://a/1", "http://a/2"],
            "status": ["success", "failed_to_download"],
            "error_message": [None, "HTTP Error 410: Gone"],
        }
    )
    output.write("downloads/images/downloaded_00000000.parquet", download._parquet(side))
    receipt = Receipt(part.name, part.sha256, options.model_dump(mode="json"), 3, 1, {"http_410": 1})
    output.write("downloads/receipts/downloaded_00000000.json", seal(asdict(receipt)))
    return part, receipt


def test_a_whole_part_is_not_asked_for_again(tmp_path: Path) -> None:
    output, options = Folder(str(tmp_path)), DownloadOptions()
    part, receipt = whole_part(output, options)
    assert fetch(output, options, 1, part) == receipt
    for change in (
        lambda: output.write("downloads/images/downloaded_00000000.tar", b"ta"),
        lambda: output.remove("downloads/images/downloaded_00000000.parquet"),
        lambda: output.write("downloads/receipts/downloaded_00000000.json", b"{}"),
    ):
        whole_part(output, options)
        change()
        assert download._held_receipt(output, part, options.model_dump(mode="json")) is None
    whole_part(output, options)
    assert download._held_receipt(output, replace(part, sha256="b" * 64), options.model_dump(mode="json")) is None
    assert download._held_receipt(output, part, DownloadOptions(image_size=256).model_dump(mode="json")) is None


def test_a_lost_image_says_why(tmp_path: Path) -> None:
    output = Folder(str(tmp_path))
    losses = Losses(output, *([each] for each in whole_part(output, DownloadOptions())))
    for address, why in (
        ("http://a/2", "http://a/2: http_410: HTTP Error 410: Gone"),
        ("http://a/1", "http://a/1: downloaded, but none that its shard has whole"),
        ("1.jpg", "1.jpg: no http or https address"),
    ):
        with pytest.raises(Rejected) as lost:
            losses.get(address)
        assert str(lost.value) == f"lost_image: {why}"


def test_images_and_download_exclude_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["ingest", "cc12m", "-i", "a.tsv", "-o", str(tmp_path / "out")]
    for flags, line in (
        (
            ["--download", "--images", "a.json"],
            "recipe: download: not beside images: those need not be asked for",
        ),
        (["--allow-host", "a"], "--allow-host is for --download"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*command, *flags])
        assert stopped.value.code == 2
        assert capsys.readouterr().err == f"error: {line}\n"


@pytest.fixture
def environment() -> None:
    """img2dataset's own; skips the test where it isn't made and may not be."""
    made = (environment_of("img2dataset") / "complete").exists()
    if not made and not os.environ.get("SHARDLOOM_TEST_DOWNLOADS"):
        pytest.skip("no environment for img2dataset (SHARDLOOM_TEST_DOWNLOADS=1 makes it)")
    python_of("img2dataset")


@pytest.mark.slow
@pytest.mark.usefixtures("environment")
def test_images_are_joined_with_their_captions_and_failures_have_their_reasons(server: str, tmp_path: Path) -> None:
    kinds = ["good/1.jpg", "missing/1", "slow/1", "page/1", "huge/1", "to/good", "to/http://10.255.0.1/x.jpg", "noai/1"]
    kinds += ["good/2.jpg", "drip/1", "endless/1", "short/1", "good/1.jpg"]
    urls = [f"{server}/{kind}" for kind in kinds] + ["http://192.168.255.1/x.jpg", "ftp://a/x.jpg"]
    recipe = recipe_of(tmp_path, urls, urls_per_shard=6, max_bytes=100_000)
    output = tmp_path / "out"
    totals = ingest(recipe, str(output), quiet=True)
    assert (totals.rows_in, totals.rows_out, totals.reasons) == (15, 4, Counter(lost_image=10, missing_image=1))

    got = {}
    for path in sorted((output / "data").glob("*.tar")):
        with path.open("rb") as file:
            for sample in TarReader(file):
                got[sample.members["txt"].data.decode()] = np.asarray(
                    Image.open(io.BytesIO(sample.members["jpg"].data))
                )
    expected = {"caption of 0": 1, "caption of 5": 3, "caption of 8": 2, "caption of 12": 1}
    assert got.keys() == expected.keys()
    for text, number in expected.items():
        original = np.asarray(Image.open(io.BytesIO(jpeg(number)))).astype(int)
        assert np.abs(got[text].astype(int) - original).mean() < 10  # coded anew; two pictures differ by 80

    rows = pl.concat([pl.read_parquet(path) for path in sorted((output / "quarantine").glob("*.parquet"))])
    details = dict(zip(rows["key"], rows["detail"], strict=True))
    assert {int(key): detail.removeprefix(f"{urls[int(key)]}: ") for key, detail in details.items()} == {
        1: "http_404: HTTP Error 404: Not Found",
        2: "timed_out: timed out",
        3: "not_an_image: Image decoding error",
        4: f"too_large: <urlopen error too large: {HUGE} bytes>",
        6: "refused_address: <urlopen error refused private address 10.255.0.1>",
        7: "forbidden_by_host: Use of image disallowed by X-Robots-Tag directive",
        9: f"timed_out: <urlopen error timed out: not all there after {2 * TIMEOUT:g} s>",
        10: "too_large: <urlopen error too large: over 100000 bytes>",
        11: f"no_answer: IncompleteRead({len(jpeg(1)) - 50} bytes read, 50 more expected)",
        13: "refused_address: <urlopen error refused private address 192.168.255.1>",
        14: "no web address: 'ftp://a/x.jpg'",
    }
    assert json.loads((output / "downloads/summary.json").read_bytes()) == {
        "urls": 13,
        "downloaded": 3,
        "failures": {
            "refused_address": 2,
            "timed_out": 2,
            "too_large": 2,
            "forbidden_by_host": 1,
            "http_404": 1,
            "no_answer": 1,
            "not_an_image": 1,
        },
    }
    stats = [json.loads(path.read_bytes()) for path in sorted((output / "downloads/images").glob("*_stats.json"))]
    assert [each["count"] for each in stats] == [6, 6, 1]
    assert verify(str(output)) == (3, [])


@pytest.mark.slow
@pytest.mark.usefixtures("environment")
def test_what_hangs_is_killed_and_counts_as_late(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "GRACE", -52.0)
    recipe = recipe_of(tmp_path, [f"{server}/slow/{number}" for number in range(3)], timeout=50.0, deadline_seconds=60)
    totals = ingest(recipe, str(tmp_path / "out"), quiet=True)
    assert (totals.rows_out, totals.reasons) == (0, Counter(lost_image=3))
    summary = json.loads((tmp_path / "out/downloads/summary.json").read_bytes())
    assert summary == {"urls": 3, "downloaded": 0, "failures": {"deadline": 3}}


@pytest.mark.parametrize("cut", [None, 5000, 0])
def test_of_a_killed_download_the_whole_images_are_kept(tmp_path: Path, cut: int | None) -> None:
    (tmp_path / "images").mkdir()
    write_shard(tmp_path / "images" / "00000000.tar", [jpeg(number) for number in range(3)])
    urls = [f"https://example.org/{number:012d}.jpg" for number in range(4)]
    pl.DataFrame({"url": urls}).write_parquet(tmp_path / "urls.parquet")
    if cut is not None:
        os.truncate(tmp_path / "images" / "00000000.tar", cut)
    _salvage(tmp_path)
    with (tmp_path / "images" / "00000000.tar").open("rb") as file:
        reader = TarReader(file)
        samples = list(reader)
    kept = {None: 3, 5000: 1, 0: 0}[cut]
    assert (reader.damage, [sample.members["jpg"].data for sample in samples]) == ([], [jpeg(n) for n in range(kept)])
    side = pl.read_parquet(tmp_path / "images" / "00000000.parquet")
    assert side["url"].to_list() == urls
    assert side["status"].to_list() == ["success"] * kept + ["failed_to_download"] * (4 - kept)
    assert side["error_message"].to_list() == [None] * kept + ["deadline"] * (4 - kept)
