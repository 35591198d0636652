"""The addresses of a set are listed once each, in parts that the input alone decides."""

from pathlib import Path

import polars as pl
import pytest

from curation.sources import SOURCES
from pipelines.cluster.runner import Runner
from pipelines.ingest.download import urls as ingest_addresses
from pipelines.ingest.download.urls import hash_address, list_url_parts
from pipelines.ingest.row_watch import RowWatch
from pipelines.ingest.run import plan_units
from pipelines.ingest.unit import IngestUnit
from pipelines.recipes.download import DownloadOptions
from pipelines.recipes.ingest import IngestRecipe, IngestRun
from pipelines.terminal.progress import Progress
from schemas.storage.folder import Folder
from schemas.web_address import is_web_address
from tests.pipelines.support.contexts import context_of
from tests.pipelines.support.published import write_text

ALONE = RowWatch(None)


def test_only_http_is_asked_for() -> None:
    asked = ["http://a/b", "HTTPS://a", "ftp://a", "file:///etc/passwd", "a.jpg", "", "http://\ud800"]
    assert [is_web_address(address) for address in asked] == [True, True] + [False] * 5


def units_of(recipe: IngestRecipe) -> list[IngestUnit]:
    """Its units of work."""
    with Progress("plan", 1) as progress:
        return plan_units(recipe, SOURCES.find(recipe.source), recipe.input, Runner.open(recipe.run), progress)


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_each_address_is_listed_once_in_parts_that_the_input_decides(
    tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_addresses, "SORTED_AT_ONCE", at_once)
    urls = [f"http://host{number % 3}.example/{number % 17}.jpg" for number in range(40)]
    lines = "".join(f"{url}\ta caption\n" for url in [*urls, "ftp://a.example/1.jpg"])
    recipe = IngestRecipe(
        source="cc12m",
        input=[write_text(tmp_path / "set.tsv", lines)],
        download=DownloadOptions(urls_per_shard=6),
        samples_per_shard=5,
        run=IngestRun(workers=1),
    )
    context = context_of(Folder(str(tmp_path / "out")), recipe.run)
    with Progress("list", 1) as progress:
        parts = list_url_parts(recipe, context, units_of(recipe), ALONE, progress)
    paths = sorted((tmp_path / "out/downloads/urls").iterdir())
    held = [pl.read_parquet(path)["url"].to_list() for path in paths]
    assert [path.stem for path in paths] == [part.name for part in parts]
    assert [len(each) for each in held] == [part.urls for part in parts]
    assert max(map(len, held)) <= 6
    assert sorted(url for each in held for url in each) == sorted({*urls})
    hashes = [hash_address(url) for each in held for url in each]
    assert hashes == sorted(hashes)
    assert [part.first for part in parts] == [hash_address(each[0]) for each in held]
    with Progress("list", 1) as progress:
        assert list_url_parts(recipe, context, [], ALONE, progress) != parts  # of another input
        assert list_url_parts(recipe, context, units_of(recipe), ALONE, progress) == parts
        assert progress.items == len({*urls})
