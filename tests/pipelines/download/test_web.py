"""img2dataset itself, against a web server that fails in every way: from DataComp's metadata to annotated images.

The runs need its environment, which pip makes in minutes: they run where one was made before, or where
SHARDLOOM_TEST_DOWNLOADS=1 says that it may be. No time limit decides what comes of an answer in them, but for those
that never come to an end.
"""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from pipelines.annotate.run import annotate
from pipelines.download.run import download
from pipelines.environments.python import ensure_environment, get_completion_mark
from pipelines.recipes.annotate import AnnotateRecipe, AnnotateRun, EngineOptions
from pipelines.recipes.download import DownloadRecipe, DownloadRun
from pipelines.stats.run import collect_stats
from pipelines.verify.run import verify
from schemas.tar.reader import TarReader, TarSample
from tests.conftest import REPOSITORY, jpeg
from tests.pipelines.support.drivers import hashes, wait_until
from tests.pipelines.support.metadata import uid_of, write_metadata
from tests.pipelines.support.web_pages import TRICKLES, Site, noise, served_pages

PATIENCE = 600.0  # seconds: a busy machine is not a failure
ENDLESS = 20.0  # seconds after which what never comes to an end is given up

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("environment", "own_engines")]


@pytest.fixture
def environment() -> None:
    """img2dataset's own; skips the test where it isn't made and may not be."""
    if not get_completion_mark("img2dataset").exists() and not os.environ.get("SHARDLOOM_TEST_DOWNLOADS"):
        pytest.skip("no environment for img2dataset (SHARDLOOM_TEST_DOWNLOADS=1 makes it)")
    ensure_environment("img2dataset")


@pytest.fixture
def site() -> Iterator[Site]:
    with served_pages() as running:
        yield running


def recipe_of(path: str, workers: int = 1, seconds: float = PATIENCE, **options: Any) -> DownloadRecipe:
    """Of a server of this machine, each address asked once."""
    patience: dict[str, Any] = {
        "retries": 0,
        "timeout": seconds,
        "answer_seconds": seconds,
        "deadline_seconds": PATIENCE,
    }
    return DownloadRecipe(
        input=[path], run=DownloadRun(workers=workers, allow_hosts=["127.0.0.1"], threads=16, **patience), **options
    )


def samples(output: Path) -> dict[str, TarSample]:
    """All images of a set, by their keys."""
    found = {}
    for path in sorted((output / "data").glob("*.tar")):
        with path.open("rb") as file:
            reader = TarReader(file)
            found |= {sample.key: sample for sample in reader}
        assert reader.damage == []
    return found


def reasons(output: Path) -> dict[str, str]:
    """Why each row is lost, by its key, as the last attempt at it has it."""
    tables = [pl.read_parquet(path) for path in sorted((output / "quarantine").glob("*.parquet"), key=lambda p: p.stem)]
    return {key: why for table in tables for key, why in zip(table["key"], table["reason"], strict=True)}


def pixels(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


LASTING = {
    "missing/{}": "http_404",
    "code/403/{}": "http_403",
    "code/410/{}": "http_410",
    "code/451/{}": "http_451",
    "page/{}": "not_an_image",
    "empty/{}": "not_an_image",
    "cut/{}": "not_an_image",
    "huge/{}": "too_large",
    "endless/{}": "too_large",
    "bomb/{}": "too_many_pixels",
    "noai/{}": "forbidden_by_host",
    "to/round?{}": "http_302",
    "to/http://10.255.0.1/{}.jpg": "refused_address",
    "to/http://169.254.169.254/latest/{}": "refused_address",
}
PASSING = {
    "code/429/{}": "http_429",
    "code/500/{}": "http_500",
    "code/503/{}": "http_503",
    "slow/{}": "timed_out",
    "drip/{}": "timed_out",
    "short/{}": "cut_short",
    "hangup/{}": "no_answer",
}
ELSEWHERE = {
    "http://192.168.255.1/{}.jpg": "refused_address",
    "http://[::1]/{}.jpg": "refused_address",
    "http://localhost/{}.jpg": "refused_address",
    "http://no-such-host.invalid/{}.jpg": "unknown_host",
    "ftp://127.0.0.1/{}.jpg": "not_http",
    "file:///etc/passwd?{}": "not_http",
    "http://127.0.0.1:x/{}.jpg": "bad_address",
}
ROWS, EACH, REPEATED = 300, 160, 40


def addresses(site: Site) -> tuple[list[str | None], list[str]]:
    """300 addresses in an order that mixes them, and what becomes of each: `had`, or why it is lost."""
    rows = [(f"{site.address}/{page}", kind) for page, kind in LASTING.items() for _ in range(4)]
    rows += [(f"{site.address}/ill/{page}", kind) for page, kind in PASSING.items() for _ in range(4)]
    rows += [(page, kind) for page, kind in ELSEWHERE.items() for _ in range(4)]
    rows += [(f"{site.address}/good/1000.jpg", "had")] * REPEATED
    rows += [(f"{site.address}/to/good", "had")] * 4
    rows += [(f"{site.address}/good/{{}}.jpg", "had")] * (ROWS - len(rows))
    order = np.random.default_rng(0).permutation(ROWS)
    return [rows[at][0].format(number) for number, at in enumerate(order)], [rows[at][1] for at in order]


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_of_300_addresses_every_one_is_had_or_accounted_for(site: Site, tmp_path: Path) -> None:
    urls, fates = addresses(site)
    assert len(urls) == ROWS
    metadata = write_metadata(tmp_path / "metadata/a.parquet", urls)
    recipe = recipe_of(metadata, seconds=ENDLESS, urls_per_shard=EACH, max_bytes=200_000)
    output = tmp_path / "images"
    keys = [f"{number // EACH:08d}{number % EACH:03d}" for number in range(ROWS)]
    totals = download(recipe, str(output))
    expected = Counter(fates)
    had = expected.pop("had")
    assert (totals.outputs, totals.rows_in, totals.rows_out, totals.reasons) == (2, ROWS, had, expected)
    assert reasons(output) == {key: fate for key, fate in zip(keys, fates, strict=True) if fate != "had"}
    assert verify(str(output)) == (2, [])

    found = samples(output)
    assert list(found) == sorted(key for key, fate in zip(keys, fates, strict=True) if fate == "had")
    for number, key in enumerate(keys):
        if fates[number] != "had":
            continue
        members = found[key].members
        assert list(members) == ["jpg", "json", "txt"]
        details = json.loads(members["json"].data)
        assert (details["uid"], details["url"], details["key"]) == (uid_of(number), urls[number], key)
        assert details["caption"] == members["txt"].data.decode() == f"caption of {number}"
        page = str(urls[number]).rpartition("/")[2].removesuffix(".jpg")
        original = jpeg(3 if page == "good" else int(page))
        assert details["sha256"] == hashlib.sha256(original).hexdigest()
        assert (details["width"], details["original_height"], details["status"]) == (64, 48, "success")
        assert np.abs(pixels(members["jpg"].data) - pixels(original)).mean() < 10  # two pictures differ by 80
    asked = {path: count for path, count in site.requests.items() if not path.startswith(("/to/", "/good/3.jpg"))}
    assert asked.pop("/good/1000.jpg") == REPEATED
    assert set(asked.values()) == {1}

    before, site.is_mended = {path: path.read_bytes() for path in (output / "data").iterdir()}, True
    site.requests.clear()
    totals = download(recipe, str(output), retry_failed=True)
    ill = sum(fate in PASSING.values() for fate in fates)
    assert ill == 4 * len(PASSING)
    assert set(site.requests) == {str(url).removeprefix(site.address) for url in urls if "/ill/" in str(url)}
    assert set(site.requests.values()) == {1}
    lasting = Counter({kind: count for kind, count in expected.items() if kind not in PASSING.values()})
    assert (totals.outputs, totals.rows_in, totals.rows_out, totals.reasons) == (4, ROWS, had + ill, lasting)
    assert {path: path.read_bytes() for path in before} == before
    assert verify(str(output)) == (4, [])
    assert len(samples(output)) == had + ill
    printed = collect_stats(str(output))
    assert (printed["rows_in"], printed["rows_out"], printed["reasons"]) == (ROWS, had + ill, dict(lasting))

    engine = EngineOptions(engine="PixelOcr")
    annotated = annotate(
        AnnotateRecipe(input=[f"{output}/data/*.tar"], engines={"ocr": engine}, run=AnnotateRun(workers=1)),
        str(tmp_path / "annotations"),
    )
    assert (annotated.outputs, annotated.rows_in, annotated.rows_out) == (4, had + ill, had + ill)
    assert annotated.damaged == {}, "the tars hold what their tables list"
    seen = pl.concat([pl.read_parquet(path) for path in (tmp_path / "annotations/data").glob("*.parquet")])
    assert sorted(seen["key"]) == sorted(samples(output))
    assert set(seen["uid"]) == {uid_of(number) for number, fate in enumerate(fates) if fate not in lasting}


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_any_number_of_workers_gives_the_same_bytes(site: Site, tmp_path: Path) -> None:
    urls = [f"{site.address}/good/{number}.jpg" for number in range(20)] + [f"{site.address}/missing/20"] * 2
    metadata = write_metadata(tmp_path / "metadata/a.parquet", list(urls))
    for workers in (1, 2):
        totals = download(recipe_of(metadata, workers, urls_per_shard=8), str(tmp_path / f"{workers}"))
        assert (totals.outputs, totals.rows_in, totals.rows_out) == (3, 22, 20)
    assert hashes(tmp_path / "1") == hashes(tmp_path / "2")


def test_images_are_made_smaller_faces_blurred_and_hashes_checked(site: Site, tmp_path: Path) -> None:
    """The box is half as wide and high as its picture, and in its middle."""
    box = [[0.25, 0.25, 0.75, 0.75]]
    pages = ["noise/200x160", "noise/200x160", "noise/1200x600", "good/1.jpg", "good/2.jpg", "good/3.jpg"]
    files = [noise(200, 160), noise(200, 160), noise(1200, 600), jpeg(1), b"another", jpeg(3)]
    hashes: list[str | None] = [hashlib.sha256(file).hexdigest() for file in files]
    hashes[3], hashes[5] = str(hashes[3]).upper(), None
    metadata = write_metadata(
        tmp_path / "a.parquet",
        [f"{site.address}/{page}" for page in pages],
        face_bboxes=[box, None, box, [], [], []],
        sha256=hashes,
    )
    totals = download(recipe_of(metadata, verify_hash=True, max_bytes=5_000_000), str(tmp_path / "out"))
    assert (totals.rows_out, totals.reasons, totals.counts) == (4, {"hash_mismatch": 2}, {"blurred_images": 2})
    found = list(samples(tmp_path / "out").values())
    shown = [pixels(sample.members["jpg"].data) for sample in found]
    assert [image.shape for image in shown] == [(160, 200, 3), (160, 200, 3), (256, 512, 3), (48, 64, 3)]
    inside, outside = (slice(60, 100), slice(70, 130)), (slice(0, 160), slice(0, 30))
    original = pixels(noise(200, 160))
    assert shown[0][inside].std() < 0.3 * original[inside].std()
    assert shown[0][outside].std() > 0.7 * original[outside].std()
    assert shown[1][inside].std() > 0.7 * original[inside].std()
    assert shown[2][100:156, 180:332].std() < 0.3 * shown[2][:, :60].std()
    details = [json.loads(sample.members["json"].data) for sample in found]
    assert [each["face_bboxes"] for each in details] == [box, [], box, []]
    assert [each["sha256"] for each in details] == [str(each).lower() for each in hashes[:4]]
    assert (details[2]["width"], details[2]["height"], details[2]["original_width"]) == (512, 256, 1200)

    plain = download(recipe_of(metadata, blur_faces=False, max_bytes=5_000_000), str(tmp_path / "plain"))
    assert (plain.rows_out, plain.counts) == (6, {"blurred_images": 0})
    found = list(samples(tmp_path / "plain").values())
    assert pixels(found[0].members["jpg"].data)[inside].std() > 0.7 * original[inside].std()
    assert "face_bboxes" not in json.loads(found[0].members["json"].data)


def test_a_shard_has_a_deadline(site: Site, tmp_path: Path) -> None:
    """Most of its addresses never answer. What they keep from being asked in time is late as well."""
    urls = [f"{site.address}/good/1.jpg"] + [f"{site.address}/ill/slow/{number}" for number in range(60)]
    recipe = recipe_of(write_metadata(tmp_path / "a.parquet", list(urls)))
    late = recipe.run.model_copy(update={"deadline_seconds": 40.0})  # img2dataset takes some of them to start
    output = str(tmp_path / "out")
    totals = download(recipe.model_copy(update={"run": late}), output)
    assert (totals.rows_in, totals.quarantined >= 60) == (61, True)
    assert set(totals.reasons) <= {"deadline", "timed_out"}
    site.is_mended = True
    totals = download(recipe, output, retry_failed=True)
    assert (totals.rows_out, totals.reasons) == (61, {})


def test_an_image_that_takes_for_ever_costs_itself_alone(site: Site, tmp_path: Path) -> None:
    """It comes first, and is decoded in the process that all others of its shard wait for."""
    urls = [f"{site.address}/scans/0"] + [f"{site.address}/good/{number}.jpg" for number in range(1, 12)]
    totals = download(recipe_of(write_metadata(tmp_path / "a.parquet", list(urls))), str(tmp_path / "out"))
    assert (totals.rows_in, totals.rows_out, totals.reasons) == (12, 11, {"slow_image": 1})
    assert reasons(tmp_path / "out") == {"000000000000": "slow_image"}


def test_answers_that_trickle_cost_themselves_alone(site: Site, tmp_path: Path) -> None:
    """More of them than there are threads; at the deadline what is there is kept."""
    slow = [f"{site.address}/trickle/{where}/{number}" for where in TRICKLES for number in range(3)]
    urls = slow + [f"{site.address}/good/{number}.jpg" for number in range(40)]
    metadata = write_metadata(tmp_path / "a.parquet", list(urls))
    totals = download(recipe_of(metadata, seconds=10.0), str(tmp_path / "out"))
    assert (totals.rows_in, totals.rows_out, totals.reasons.total()) == (61, 40, 21)
    assert totals.reasons["timed_out"] >= 18  # Python takes up to 100 headers: their answer may end before its time
    assert totals.reasons.keys() <= {"timed_out", "no_answer"}
    assert verify(str(tmp_path / "out")) == (1, [])


def test_a_killed_download_goes_on_and_so_does_a_killed_retry(site: Site, tmp_path: Path) -> None:
    """Nothing that was committed is asked for a second time."""
    pages = [*(f"good/{number}.jpg" for number in range(3)), "ill/code/503/{}"]
    paths = [f"/{page.format(number)}?{number}" for number in range(4) for page in pages]
    metadata = write_metadata(tmp_path / "a.parquet", [site.address + path for path in paths])
    output = tmp_path / "out"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        json.dumps(
            {
                "input": metadata,
                "urls_per_shard": 4,
                "run": {"output": str(output), "workers": 1, "allow_hosts": ["127.0.0.1"], "retries": 0},
            }
        )
    )

    def kill_at(manifests: int, *flags: str) -> None:
        command = [sys.executable, "-m", "pipelines.download", str(recipe), *flags]
        with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            wait_until(lambda: len(list(output.glob("manifests/*.json"))) >= manifests or process.poll() is not None)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL

    kill_at(2)
    done = {path.stem for path in output.glob("manifests/*.json")}
    assert {"00000000", "00000001"} <= done
    site.requests.clear()
    run = subprocess.run(
        [sys.executable, "-m", "pipelines.download", str(recipe)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (0, f"{output}: 16 rows in, 12 out, 4 quarantined (4 http_503)\n")
    todo = [path for number, path in enumerate(paths) if f"{number // 4:08d}" not in done]
    assert site.requests == Counter(todo)
    site.is_mended = True
    kill_at(5, "--retry-failed")
    done = {path.stem for path in output.glob("manifests/*-r1.json")}
    assert "00000000-r1" in done
    site.requests.clear()
    loaded = DownloadRecipe(
        input=[metadata], urls_per_shard=4, run=DownloadRun(workers=1, allow_hosts=["127.0.0.1"], retries=0)
    )
    totals = download(loaded, str(output), retry_failed=True)
    assert (totals.rows_in, totals.rows_out, totals.reasons) == (16, 16, {})
    todo = [path for number, path in enumerate(paths) if f"{number // 4:08d}-r1" not in done and "/ill/" in path]
    assert site.requests == Counter(todo)
    assert verify(str(output)) == (8, [])
    assert sorted(path.stem for path in (output / "data").glob("*-r*.tar")) == [
        f"0000000{part}-r1" for part in range(4)
    ]
