"""What tests of several commands need."""

from collections.abc import Iterator

import pytest

from curation.captions.families import FAMILIES
from curation.engines.registry import ENGINES
from curation.sources import SOURCES


@pytest.fixture(autouse=True)
def _trust_ends_with_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps code that one test trusts from another one of this process."""
    monkeypatch.setattr(ENGINES, "_trusted", dict(ENGINES._trusted))
    monkeypatch.setattr(FAMILIES, "_trusted", dict(FAMILIES._trusted))
    monkeypatch.setattr(SOURCES, "_trusted", dict(SOURCES._trusted))


@pytest.fixture(scope="module")
def own_engines() -> Iterator[None]:
    """Trusts the engines of `tests.pipelines.support.engines` in this process, as `--trust-code` does."""
    from tests.pipelines.support.engines import REFERENCES  # here, for it imports Ray

    ENGINES.trust(*REFERENCES.values())
    yield
    ENGINES._trusted.clear()
