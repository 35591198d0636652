"""The four real sets mixed, MINT-1T at 7:5:1 with OBELICS: every prefix walked, one order however they are cut."""

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from pipelines.mix.run import mix
from pipelines.recipes.base import RunOptions
from pipelines.recipes.mix import MixRecipe
from pipelines.verify.run import verify
from tests.pipelines.ingest.test_ingest import samples_of
from tests.pipelines.ingest.test_real_data import SETS, ingested
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.sets import ALONE, rows

WEIGHTS = {"mint": {"weight": 65, "of": {"mint-html": 7, "mint-pdf": 5, "mint-arxiv": 1}}, "obelics": 35}
SHARES = {"mint-html": "35/100", "mint-pdf": "25/100", "mint-arxiv": "5/100", "obelics": "35/100"}
REPEATS = {"mint-html": 3, "mint-pdf": 3, "obelics": 4}


@pytest.fixture(scope="module")
def sources(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    for source in SETS:
        ingested(data, source, folder / source)
    return folder


def mixed(sources: Path, output: Path, **options: Any) -> list[dict[str, Any]]:
    """Index rows of the mixture, in its order."""
    folders = {name: str(sources / name) for name in SETS}
    values = {"weights": WEIGHTS, "repeats": REPEATS, "samples_per_shard": 64, "run": ALONE} | options
    mix(MixRecipe.model_validate({"sources": folders} | values), str(output))
    assert verify(str(output))[1] == []
    return rows(output, "index")


def identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["source"], row["uid"], row["characters"], *(image["sha256"] for image in row["image_details"])


def test_shares_are_exact_at_every_prefix(sources: Path, tmp_path: Path) -> None:
    drawn: Counter[str] = Counter()
    found = mixed(sources, tmp_path / "out")
    assert len(found) > 300
    for count, row in enumerate(found, 1):
        drawn[row["source"]] += 1
        for name, share in SHARES.items():
            assert abs(drawn[name] - count * Fraction(share)) < 1
    assert max(drawn[name] - times * SETS[name] for name, times in REPEATS.items()) == 0
    times = Counter(map(identity, found))
    assert max(times.values()) <= 4
    originals = {name: Counter(map(identity, rows(sources / name, "index"))) for name in SETS}
    for name, count in drawn.items():  # nothing comes again before all of its source has come
        assert all(count // SETS[name] <= times[row] <= -(-count // SETS[name]) for row in originals[name])


def test_the_order_hangs_on_the_seed_alone(data: Path, sources: Path, tmp_path: Path) -> None:
    for source in SETS:
        ingested(data, source, tmp_path / "recut" / source, samples_per_shard=17)
    found = mixed(sources, tmp_path / "out")
    assert mixed(sources, tmp_path / "again") == found
    assert hashes(tmp_path / "again") == hashes(tmp_path / "out")
    recut = mixed(tmp_path / "recut", tmp_path / "other", samples_per_shard=100)
    assert [identity(row) for row in recut] == [identity(row) for row in found]
    another = mixed(sources, tmp_path / "seed", seed=1)
    assert [identity(row) for row in another] != [identity(row) for row in found]


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_two_workers_give_the_same_bytes(sources: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        mixed(sources, tmp_path / f"out{workers}", run=RunOptions(workers=workers))
    assert hashes(tmp_path / "out1") == hashes(tmp_path / "out2")


def test_documents_are_their_sources_own(sources: Path, tmp_path: Path) -> None:
    mixed(sources, tmp_path / "out", stop=100)
    originals = {identity(row): members for name in SETS for row, members in samples_of(sources / name)}
    for row, members in samples_of(tmp_path / "out"):
        assert members == originals[identity(row)]
