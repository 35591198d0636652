"""What tests of several commands need."""

from collections.abc import Iterator
from typing import Any

import pytest

from curation.captions.families import FAMILIES
from curation.engines.registry import ENGINES
from curation.sources import SOURCES
from pipelines.terminal.progress import Progress
from tests.pipelines.support.accounts import add_up_and_account
from tests.support.registries import isolate


@pytest.fixture(scope="session", autouse=True)
def _account_for_all_rows() -> Iterator[None]:
    """Fails every run of a command in this process whose set does not account for each row.

    It holds for the session, because sets of several tests are made before the tests' own fixtures start.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.output.job.add_up_manifests", add_up_and_account)
        yield


@pytest.fixture(autouse=True)
def _trust_ends_with_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps code that one test trusts from another one of this process."""
    isolate(monkeypatch, ENGINES, FAMILIES, SOURCES)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines of progress of this process, each as it is updated."""
    lines: list[str] = []
    show = Progress.show

    def show_and_keep(progress: Progress, *arguments: Any, **options: Any) -> None:
        show(progress, *arguments, **options)
        lines.append(progress.describe())

    monkeypatch.setattr(Progress, "show", show_and_keep)
    return lines


@pytest.fixture(scope="module")
def own_engines() -> Iterator[None]:
    """Trusts the engines of `tests.pipelines.support.engines` in this process, as `--trust-code` does."""
    from tests.pipelines.support.engines import REFERENCES  # here, for it imports Ray

    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, ENGINES)
        ENGINES.trust(*REFERENCES.values())
        yield
