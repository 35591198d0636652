"""Images are had by their addresses, joined right, each failure with its reason; nothing private is ever asked.

The runs with img2dataset itself need its environment, which pip makes in minutes: they run where one was made before,
or where SHARDLOOM_TEST_DOWNLOADS=1 says that it may be. No time limit decides what comes of an answer in them, but for
those that never come to an end.
"""

import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from pipelines.cli.app import main
from pipelines.environments.python import ensure_environment, get_environment_folder
from pipelines.img2dataset import process as img2dataset
from pipelines.ingest.download.parts import Receipt
from pipelines.ingest.download.urls import UrlPart
from pipelines.ingest.run import ingest
from pipelines.recipes.download import DownloadOptions
from pipelines.recipes.ingest import IngestRecipe, IngestRun
from pipelines.verify.run import verify
from schemas.errors import ShardloomError
from schemas.output_set.manifest import seal, unseal
from schemas.storage.folder import Folder
from schemas.tar.reader import TarReader
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.published import write_text
from tests.pipelines.support.web_pages import HUGE, served_pages

PATIENCE = 600.0  # seconds: a busy machine is not a failure


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with served_pages() as site:
        yield site.address


@pytest.fixture
def environment() -> None:
    """img2dataset's own; skips the test where it isn't made and may not be."""
    made = (get_environment_folder("img2dataset") / "complete").exists()
    if not made and not os.environ.get("SHARDLOOM_TEST_DOWNLOADS"):
        pytest.skip("no environment for img2dataset (SHARDLOOM_TEST_DOWNLOADS=1 makes it)")
    ensure_environment("img2dataset")


def recipe_of(folder: Path, urls: list[str], workers: int = 1, **options: Any) -> IngestRecipe:
    """A set of captions of these images."""
    lines = "".join(f"{url}\tcaption of {number}\n" for number, url in enumerate(urls))
    values = {"allow_hosts": ["127.0.0.1"], "retries": 0, "timeout": PATIENCE, "answer_seconds": PATIENCE} | options
    return IngestRecipe(
        source="cc12m",
        input=[write_text(folder / "set.tsv", lines)],
        download=DownloadOptions(**values),
        samples_per_shard=5,
        run=IngestRun(workers=workers, download_threads=8),
    )


def details_of(output: Path) -> dict[int, str]:
    """Why each row is not in the set, by its number."""
    rows = pl.concat([pl.read_parquet(path) for path in sorted((output / "quarantine").glob("*.parquet"))])
    return {int(key): detail for key, detail in zip(rows["key"], rows["detail"], strict=True)}


def summary_of(output: Path) -> dict[str, Any]:
    """What became of all addresses."""
    summary: dict[str, Any] = json.loads((output / "downloads/summary.json").read_bytes())
    return summary


def test_images_and_download_exclude_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["ingest", "cc12m", "-i", "a.tsv", "-o", str(tmp_path / "out")]
    for flags, line in (
        (
            ["--download", "--images", "a.json"],
            "recipe: download: use either download or images, not both",
        ),
        (["--allow-host", "a"], "--allow-host needs --download"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*command, *flags])
        assert stopped.value.code == 2
        assert capsys.readouterr().err == f"error: {line}\n"


@pytest.mark.parametrize("name", ["out", "out[1]*"])
def test_what_was_downloaded_needs_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A folder may be called as no glob can be. Asking for an environment would be an error here, as it is offline."""
    monkeypatch.setenv("SHARDLOOM_ENVIRONMENTS", "/dev/null/none")
    recipe = recipe_of(tmp_path, [f"https://example.org/{number:012d}.jpg" for number in range(3)])
    assert recipe.download is not None
    output = Folder(str(tmp_path / name))
    with pytest.raises(ShardloomError, match="set SHARDLOOM_ENVIRONMENTS to a writable folder"):
        ingest(recipe, output.url)
    (part,) = (UrlPart(**each) for each in unseal(output.read("downloads/urls.json"))["parts"])
    output.get_local_path("downloads/images").mkdir()
    write_shard(output.get_local_path(f"downloads/images/{part.name}.tar"), [jpeg(number) for number in range(3)])
    pl.DataFrame({"url": []}).write_parquet(output.get_local_path(f"downloads/images/{part.name}.parquet"))
    size = output.get_size(f"downloads/images/{part.name}.tar")
    receipt = Receipt(part.name, part.sha256, recipe.download.model_dump(mode="json"), size, 3, {})
    output.write(f"downloads/receipts/{part.name}.json", seal(asdict(receipt)))
    totals = ingest(recipe, output.url)
    assert (totals.rows_in, totals.rows_out) == (3, 3)


@pytest.mark.slow
@pytest.mark.usefixtures("environment")
def test_images_are_joined_with_their_captions_and_failures_have_their_reasons(server: str, tmp_path: Path) -> None:
    kinds = ["good/1.jpg", "missing/1", "page/1", "huge/1", "to/good", "to/http://10.255.0.1/x.jpg", "noai/1", "bomb/1"]
    kinds += ["good/2.jpg", "endless/1", "short/1", "good/1.jpg", "to/round"]
    urls = [f"{server}/{kind}" for kind in kinds] + ["http://192.168.255.1/x.jpg", "ftp://a/x.jpg"]
    recipe = recipe_of(tmp_path, urls, urls_per_shard=7, max_bytes=100_000)
    output = tmp_path / "out"
    totals = ingest(recipe, str(output))
    assert (totals.rows_in, totals.rows_out, totals.reasons) == (15, 4, Counter(lost_image=10, missing_image=1))

    got = {}
    for path in sorted((output / "data").glob("*.tar")):
        with path.open("rb") as file:
            for sample in TarReader(file):
                got[sample.members["txt"].data.decode()] = np.asarray(
                    Image.open(io.BytesIO(sample.members["jpg"].data))
                )
    expected = {"caption of 0": 1, "caption of 4": 3, "caption of 8": 2, "caption of 11": 1}
    assert got.keys() == expected.keys()
    for text, number in expected.items():
        original = np.asarray(Image.open(io.BytesIO(jpeg(number)))).astype(int)
        assert np.abs(got[text].astype(int) - original).mean() < 10  # coded anew; two pictures differ by 80

    details = {row: detail.removeprefix(f"{urls[row]}: ") for row, detail in details_of(output).items()}
    assert details.pop(12).startswith("http_302: HTTP Error 302: The HTTP server returned a redirect error")
    assert details.pop(7).startswith("too_many_pixels: OpenCV")
    assert details == {
        1: "http_404: HTTP Error 404: Not Found",
        2: "not_an_image: Image decoding error",
        3: f"too_large: <urlopen error too large: {HUGE} bytes>",
        5: "refused_address: <urlopen error refused private address 10.255.0.1>",
        6: "forbidden_by_host: Use of image disallowed by X-Robots-Tag directive",
        9: "too_large: <urlopen error too large: over 100000 bytes>",
        10: f"cut_short: IncompleteRead({len(jpeg(1)) - 50} bytes read, 50 more expected)",
        13: "refused_address: <urlopen error refused private address 192.168.255.1>",
        14: "no web address: 'ftp://a/x.jpg'",
    }
    assert summary_of(output) == {
        "urls": 13,
        "downloaded": 3,
        "failures": {
            "refused_address": 2,
            "too_large": 2,
            "forbidden_by_host": 1,
            "http_302": 1,
            "http_404": 1,
            "cut_short": 1,
            "not_an_image": 1,
            "too_many_pixels": 1,
        },
    }
    stats = [json.loads(path.read_bytes()) for path in sorted((output / "downloads/images").glob("*_stats.json"))]
    assert [each["count"] for each in stats] == [7, 6]
    assert verify(str(output)) == (3, [])


@pytest.mark.slow
@pytest.mark.usefixtures("environment")
def test_answers_that_never_end_are_given_up(server: str, tmp_path: Path) -> None:
    urls = [f"{server}/slow/1", f"{server}/drip/1"]
    recipe = recipe_of(tmp_path, urls, timeout=1.0, answer_seconds=1.0)
    totals = ingest(recipe, str(tmp_path / "out"))
    assert (totals.rows_out, totals.reasons) == (0, Counter(lost_image=2))
    assert summary_of(tmp_path / "out") == {"urls": 2, "downloaded": 0, "failures": {"timed_out": 2}}


@pytest.mark.slow
@pytest.mark.usefixtures("environment")
def test_what_hangs_is_killed_and_counts_as_late(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(img2dataset, "GRACE_SECONDS", -PATIENCE + 8)
    recipe = recipe_of(tmp_path, [f"{server}/slow/{number}" for number in range(3)], deadline_seconds=PATIENCE)
    totals = ingest(recipe, str(tmp_path / "out"))
    assert (totals.rows_out, totals.reasons) == (0, Counter(lost_image=3))
    assert summary_of(tmp_path / "out") == {"urls": 3, "downloaded": 0, "failures": {"deadline": 3}}


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.xdist_group("ray")
@pytest.mark.usefixtures("environment")
def test_two_workers_download_and_join(server: str, tmp_path: Path) -> None:
    """Two shards, each by a worker of its own; and from the shards that are there, one worker makes the same bytes."""
    urls = [f"{server}/good/{number}.jpg" for number in range(12)] + [f"{server}/missing/1"]
    totals = ingest(recipe_of(tmp_path, urls, workers=2, urls_per_shard=7), str(tmp_path / "out"))
    assert (totals.rows_in, totals.rows_out, totals.reasons) == (13, 12, Counter(lost_image=1))
    assert len(list((tmp_path / "out/downloads/images").glob("*.tar"))) == 2
    before = hashes(tmp_path / "out")
    for folder in ("data", "manifests", "index", "quarantine"):
        for path in (tmp_path / "out" / folder).iterdir():
            path.unlink()
    ingest(recipe_of(tmp_path, urls, workers=1, urls_per_shard=7), str(tmp_path / "out"))
    assert hashes(tmp_path / "out") == before
