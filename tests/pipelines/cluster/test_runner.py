"""Where the work of a command runs, decided once from its options and its surroundings."""

import pytest

from pipelines.cluster import runner as runner_module
from pipelines.cluster.runner import ExecutionMode, Runner
from pipelines.recipes.base import RunOptions

HERE, OWN, JOINED = ExecutionMode.IN_PROCESS, ExecutionMode.LOCAL_CLUSTER, ExecutionMode.EXTERNAL_CLUSTER


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(runner_module, "count_cores", lambda: 4)


@pytest.mark.parametrize(
    ("options", "variable", "needs_cluster", "place"),
    [
        ({}, None, False, OWN),
        ({"workers": 1}, None, False, HERE),
        ({"workers": 1}, None, True, OWN),
        ({"address": "head:6379"}, None, False, JOINED),
        ({"address": "head:6379", "workers": 1}, None, False, JOINED),
        ({}, "head:6379", False, JOINED),
        ({"workers": 1}, "head:6379", False, HERE),
        ({"workers": 1}, "head:6379", True, JOINED),
    ],
)
def test_the_place(
    options: dict[str, object],
    variable: str | None,
    needs_cluster: bool,
    place: ExecutionMode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if variable is not None:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    assert Runner.open(RunOptions.model_validate(options), needs_cluster=needs_cluster).mode is place


def test_one_core_works_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "count_cores", lambda: 1)
    assert Runner.open(RunOptions()).mode is HERE
    assert Runner.open(RunOptions(workers=3)).mode is OWN


def test_a_job_works_on_its_cluster_on_one_unit_as_well() -> None:
    own, joined, here = (Runner.open(run) for run in (RunOptions(), RunOptions(address="a:1"), RunOptions(workers=1)))
    assert [own.is_in_process(units) for units in (0, 1, 2)] == [True, True, False]
    assert [joined.is_in_process(units) for units in (0, 1, 2)] == [True, False, False]
    assert [here.is_in_process(units) for units in (0, 1, 2)] == [True, True, True]


def test_workers_are_those_asked_for_or_one_a_core() -> None:
    assert [Runner.open(RunOptions(workers=workers)).count_workers() for workers in (None, 1, 7)] == [4, 1, 7]


def test_work_in_process_is_done_in_order() -> None:
    assert list(Runner.open(RunOptions(workers=1)).map(lambda unit: unit * 2, [3, 1, 2])) == [6, 2, 4]
