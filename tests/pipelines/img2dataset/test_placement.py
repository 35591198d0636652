"""Downloads run on the nodes that offer them, and every such node must have img2dataset's environment."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from pipelines.cluster.runner import Runner
from pipelines.environments.python import get_completion_mark
from pipelines.img2dataset.placement import plan_download_placement
from pipelines.ingest.run import ingest
from pipelines.recipes.download import DownloadOptions, DownloadRun
from pipelines.recipes.ingest import IngestRecipe, IngestRun
from schemas.errors import UsageError
from tests.pipelines.support.drivers import cluster_that_offers

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head, and a node that offers to download."""
    with cluster_that_offers("shardloom-download") as started:
        yield started


def offers(_: int) -> list[str]:
    """What the node offers that this is run on."""
    here = ray.get_runtime_context().get_node_id()
    [node] = [node for node in ray.nodes() if node["NodeID"] == here]
    return [name for name in node["Resources"] if name.startswith("shardloom-")]


def test_downloads_run_where_they_are_offered(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARDLOOM_ENVIRONMENTS", str(tmp_path))
    run = DownloadRun(address=cluster.address, workers=2)
    runner = Runner.open(run)
    table = tmp_path / "set.tsv"
    table.write_text("http://example.org/1.jpg\ta caption\n")
    ingesting = IngestRecipe(
        source="cc12m", input=[str(table)], download=DownloadOptions(), run=IngestRun(address=cluster.address)
    )
    line = (
        "img2dataset runs in an environment of its own, which is not on 1 of the 1 nodes for it "
        f"({cluster.head_node.node_ip_address}): shardloom engines --build img2dataset"
    )
    with pytest.raises(UsageError) as error:
        plan_download_placement(runner, 6)
    assert str(error.value) == line
    with pytest.raises(UsageError) as error:
        ingest(ingesting, str(tmp_path / "out"))
    assert str(error.value) == line
    get_completion_mark("img2dataset").parent.mkdir()
    get_completion_mark("img2dataset").touch()
    where = plan_download_placement(runner, 6)
    assert where == {"resources": {"shardloom-download": 0.0001}}
    assert list(runner.map(offers, range(6), placement=where)) == [["shardloom-download"]] * 6
