"""Which cluster a run uses: its own, the one at its address, or what its caller uses already."""

from pathlib import Path

import pytest
import ray

from pipelines.cluster.connection import connect
from pipelines.cluster.runner import Runner
from pipelines.recipes.base import RunOptions
from schemas.errors import UsageError
from tests.pipelines.support.drivers import cluster_that_offers

pytestmark = pytest.mark.ray  # beside the tests of the group: it takes what clusters take to start

STORE = 100 << 20


def here() -> str:
    """The cluster in use."""
    return str(ray.get_runtime_context().gcs_address)


def joined(run: RunOptions) -> bool:
    """Whether a run of these options would use a cluster that is not our own."""
    return Runner.open(run, needs_cluster=True).is_joined


def test_a_run_is_where_it_asks_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with cluster_that_offers("something") as cluster:
        own, joining = RunOptions(workers=1), RunOptions(address=cluster.address)
        connect(own, STORE)
        first = here()
        assert first != cluster.address
        connect(own, STORE)
        assert (here(), joined(own)) == (first, False)
        connect(joining, STORE)
        assert (here(), joined(joining)) == (cluster.address, True)
        assert not joined(own)

        ray.shutdown()
        ray.init(address=cluster.address)
        assert joined(own)
        connect(own, STORE)
        connect(joining, STORE)
        assert here() == cluster.address
        with pytest.raises(UsageError) as error:
            connect(RunOptions(address="10.0.0.1:6379"), STORE)
        assert str(error.value) == f"this process uses Ray at {cluster.address}, and the run asks for 10.0.0.1:6379"


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_workers_of_a_cluster_of_our_own_are_where_the_run_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or relative paths would be others for them than for the driver."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    run = RunOptions(workers=2)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert list(Runner.open(run).map(lambda _: str(Path.cwd()), [0, 1])) == [str(tmp_path / name)] * 2
