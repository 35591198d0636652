"""What tests of several commands need."""

from collections.abc import Iterator

import pytest

from curation.engines.registry import ENGINES


@pytest.fixture(scope="module")
def own_engines() -> Iterator[None]:
    """Trusts the engines of `tests.pipelines.support.engines` in this process, as `--trust-code` does."""
    from tests.pipelines.support.engines import REFERENCES  # here, for it imports Ray

    ENGINES.trust(*REFERENCES.values())
    yield
    ENGINES._trusted.clear()
