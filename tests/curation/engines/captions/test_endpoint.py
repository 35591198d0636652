"""Captions by a server: every image has its own or its reason, whatever the server does, within the bound."""

import base64
import io
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curation.engines.captions.endpoint import ENGINE, check_settings
from curation.engines.captions.endpoint_settings import RUN_SETTINGS, EndpointSettings
from curation.engines.captions.runtime.endpoint import Endpoint
from curation.engines.captions.runtime.pictures import encode_image
from curation.engines.captions.runtime.retries import compute_delay, read_retry_after
from curation.engines.declaration import OtherEngines
from curation.engines.kinds import CaptionAnswer, CaptionRequest, EngineUnusable
from curation.images.decode import RgbImage
from schemas.errors import UsageError
from tests.support.caption_server import (
    OUTCOMES,
    CaptionServer,
    hash_pixels,
    meet_faults,
    running_server,
    write_caption,
)

KEY = "sk-secret-4711"


@pytest.fixture
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.engines.captions.runtime.retries.FIRST_SECONDS", 0.05)


def picture(seed: int, width: int = 24, height: int = 16) -> RgbImage:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make(server: CaptionServer, **settings: Any) -> Endpoint:
    return Endpoint(EndpointSettings(**({"model": "m", "base_url": server.url, "image_format": "png"} | settings)))


def hash_of(image: RgbImage) -> str:
    """The hash by which the server knows an image that is sent as PNG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return hash_pixels(file.getvalue())


def ask(engine: Endpoint, *seeds: int) -> list[CaptionAnswer]:
    return engine.annotate([CaptionRequest(f"key {seed}", f"prompt {seed}", picture(seed)) for seed in seeds])


def find_seed(outcome: str) -> int:
    """The first image that meets this."""
    return next(seed for seed in range(1000) if meet_faults(hash_of(picture(seed))) == outcome)


@pytest.mark.usefixtures("_short_delays")
def test_each_image_has_its_own_caption_or_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order of the answers, and with never more requests than allowed."""
    monkeypatch.setenv("CAPTION_KEY", KEY)
    seeds = range(60)
    with running_server(choose=meet_faults, key=KEY, delay=0.02) as server:
        engine = make(server, key_variable="CAPTION_KEY", in_flight=8, timeout_seconds=1.0, patience_seconds=60)
        answers = ask(engine, *seeds)
    assert 1 < server.most_in_flight <= 8
    order = [prompt for _, prompt in server.answered]
    assert order != sorted(order, key=lambda prompt: int(prompt.split()[1])), "they are not answered in order"
    met = set()
    for seed, answer in zip(seeds, answers, strict=True):
        pixels = hash_of(picture(seed))
        text, outcome = write_caption(pixels, f"prompt {seed}"), meet_faults(pixels)
        met.add(outcome)
        expected = {
            "refused": CaptionAnswer(f"key {seed}", "", "refused", "stop", 100, 10),
            "filtered": CaptionAnswer(f"key {seed}", "", "refused", "content_filter"),
            "truncated": CaptionAnswer(f"key {seed}", text, "truncated", "length", 100, 10),
            "bad": CaptionAnswer(
                f"key {seed}",
                "",
                "error",
                detail="HTTP 400: no such image for Bearer ***",
            ),
        }.get(outcome, CaptionAnswer(f"key {seed}", text, "ok", "stop", 100, 10))
        assert answer == expected
    assert met == set(OUTCOMES)


@pytest.mark.usefixtures("_short_delays")
@pytest.mark.parametrize(("outcome", "tries"), [("rate", 2), ("down", 3), ("reset", 2), ("cut", 2), ("garbled", 2)])
def test_what_may_pass_is_asked_again(outcome: str, tries: int) -> None:
    seed = find_seed(outcome)
    with running_server(choose=meet_faults) as server:
        began = time.monotonic()
        [answer] = ask(make(server), seed)
    assert (answer.status, len(server.asked)) == ("ok", tries)
    if outcome == "rate":
        assert time.monotonic() - began >= 0.3, "the server's Retry-After"


@pytest.mark.parametrize(
    ("outcome", "fault"),
    [
        ("rate", "HTTP 429: too many"),
        ("down", "HTTP 503: loading"),
        ("reset", "connection "),
        ("cut", "connection lost: RemoteProtocolError: peer closed connection without sending complete message body"),
        ("garbled", "a malformed answer (choices.0.message.content: Input should be a valid string)"),
        ("slow", "no answer within 0.2 s"),
    ],
)
def test_the_patience_ends(outcome: str, fault: str) -> None:
    with running_server(choose=meet_faults) as server:
        timeout = 0.2 if outcome == "slow" else 30.0  # a busy machine is no slow server
        [answer] = ask(make(server, patience_seconds=0.1, timeout_seconds=timeout), find_seed(outcome))
    assert (answer.status, answer.text, len(server.asked)) == ("error", "", 1)
    assert answer.detail.startswith(f"given up, {fault}")


REST = (
    ": see the server, base_url and the key in run.settings, and the model; finished work is kept, and the same "
    "command resumes the run"
)


def test_no_server() -> None:
    """No image is at fault."""
    with running_server() as server:
        pass
    with pytest.raises(EngineUnusable) as error:
        ask(make(server, patience_seconds=0), 0, 1)
    assert str(error.value) == f"endpoint: {server.url} was not reached for 0 s (connection refused){REST}"


def test_redirects_are_not_followed() -> None:
    with running_server() as server:
        moved = server.url.replace("/v1", "/moved")
        with pytest.raises(EngineUnusable, match=rf"^endpoint: {moved} refuses \(HTTP 307: "):
            ask(make(server, base_url=moved), 0)
    assert len(server.headers) == 1


def test_a_key_that_is_no_longer_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fail on every image, and is not shown."""
    monkeypatch.setenv("CAPTION_KEY", KEY)
    with running_server(key="another") as server, pytest.raises(EngineUnusable) as error:
        ask(make(server, key_variable="CAPTION_KEY"), 0, 1)
    assert str(error.value).startswith(f"endpoint: {server.url} refuses (HTTP 401: ")
    assert "wrong key Bearer ***" in str(error.value)


@pytest.mark.usefixtures("_short_delays")
def test_requests_that_are_retried_are_reported() -> None:
    reports: list[Mapping[str, int]] = []
    with running_server(choose=lambda _: "down") as server:
        engine = make(server, in_flight=2)
        engine.report_retries_to(reports.append)
        assert [answer.status for answer in ask(engine, 0, 1)] == ["ok", "ok"]
    assert [dict(report) for report in reports[:2]] == [{"HTTP 503": 1}, {"HTTP 503": 2}]
    assert reports[-1] == {}


def test_batches_share_the_places_for_requests() -> None:
    """While the last answer to one is outstanding, others are answered, and the bound is one for all."""
    held, last = threading.Event(), hash_of(picture(3))
    with running_server(holds=lambda _, pixels: pixels == last and not held.is_set()) as server:
        engine = make(server, in_flight=4)
        with ThreadPoolExecutor(3) as calls:
            first = calls.submit(ask, engine, 0, 1, 2, 3)
            others = [calls.submit(ask, engine, *range(start, start + 8)) for start in (10, 20)]
            found = [answer.id for other in others for answer in other.result(timeout=60)]
            assert not first.done()
            held.set()
            assert [answer.id for answer in first.result(timeout=60)] == [f"key {seed}" for seed in range(4)]
    assert found == [f"key {seed}" for seed in (*range(10, 18), *range(20, 28))]
    assert 2 <= server.most_in_flight <= 4


def test_only_the_named_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one that the client would take from the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with running_server() as server:
        [answer] = ask(make(server), 0)
    assert answer.status == "ok"
    assert server.headers[0]["authorization"] == "Bearer none"


def test_what_is_sent() -> None:
    """Parameters that are null are left out; a text alone is sent without an image."""
    with running_server() as server:
        engine = make(server, seed=7, top_p=0.5, temperature=None, max_tokens_parameter="max_completion_tokens")
        [answer] = engine.annotate([CaptionRequest("a", "Rewrite {this}.", None)])
    assert answer.text == write_caption("text", "Rewrite {this}.")
    assert server.bodies == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Rewrite {this}."}]}],
            "max_completion_tokens": 512,
            "seed": 7,
            "top_p": 0.5,
        }
    ]


def test_large_images_are_reduced_and_small_ones_are_not() -> None:
    settings = EndpointSettings(image_side=32, image_format="png")
    for size, sent in (((64, 16), (32, 8)), ((32, 20), (32, 20)), ((8, 4), (8, 4))):
        kind, _, data = encode_image(picture(0, *size), settings).partition(",")
        assert kind == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == sent
    assert encode_image(picture(0), EndpointSettings()).startswith("data:image/jpeg;base64,/9j/")


def test_the_fingerprint_holds_what_alters_an_answer() -> None:
    """Not where and how fast the server is asked."""
    one = Endpoint(EndpointSettings(model="m", base_url="http://a/v1", in_flight=3)).fingerprint
    assert one == Endpoint(EndpointSettings(model="m", base_url="http://b/v1", patience_seconds=1)).fingerprint
    assert set(one.settings) == EndpointSettings.model_fields.keys() - set(RUN_SETTINGS)
    for changed in ({"seed": 1}, {"image_side": 512}, {"jpeg_quality": 80}, {"temperature": 1.0}, {"model": "n"}):
        assert one != Endpoint(EndpointSettings(**({"model": "m", "base_url": "http://a/v1"} | changed))).fingerprint


def test_the_wait_is_bounded() -> None:
    settings = EndpointSettings(in_flight=8, patience_seconds=100, timeout_seconds=20)
    assert ENGINE.compute_wait_seconds is not None
    assert [ENGINE.compute_wait_seconds(settings, images) for images in (1, 8, 9)] == [120, 120, 240]


def test_delays_grow_with_jitter() -> None:
    delays = [[compute_delay(tries, {}) for _ in range(200)] for tries in (1, 2, 3, 50)]
    for found, most in zip(delays, (0.5, 1, 2, 30), strict=True):
        assert all(most / 2 <= delay <= most for delay in found)
        assert len(set(found)) > 100
    assert compute_delay(1, {"retry-after": "7"}) == 7


def test_dates_to_wait_for() -> None:
    assert read_retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert read_retry_after({"retry-after": "Wed, 21 Oct 2215 07:28:00 GMT"}) > 1e9
    assert [read_retry_after({"retry-after": text}) for text in ("", "soon", "-3", "2.5")] == [0, 0, 0, 2.5]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"base_url": "http://a/v1"}, "no model: set model in the engine's settings, to a name that the server knows"),
        ({"model": "m"}, "no server: set base_url in run.settings, such as http://localhost:8000/v1"),
        (
            {"model": "m", "base_url": "localhost:8000"},
            "base_url is no address of a server: write it as http://HOST:PORT/v1",
        ),
        (
            {"model": "m", "base_url": "http://me:secret@a/v1"},
            "base_url has more than an address: put a key into the variable of key_variable",
        ),
        (
            {"model": "m", "base_url": "http://a/v1", "key_variable": "NO_SUCH_KEY"},
            "the environment variable NO_SUCH_KEY is not set: export it here, and on a cluster on each node before "
            "`ray start`",
        ),
    ],
)
def test_what_is_refused_before_a_run(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as error:
        check_settings(EndpointSettings(**settings), OtherEngines())
    assert str(error.value) == f"endpoint: {line}"
