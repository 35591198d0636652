"""What the trainer's tests share."""

from pathlib import Path

import pytest

from tests.training.support import tiny


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of bytes."""
    return tiny.write_tokenizer(tmp_path_factory.mktemp("tokenizer"))
