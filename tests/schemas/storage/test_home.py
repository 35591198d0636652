"""A process without a home folder, as in a container whose user nobody knows, says so in one line."""

import os
import re
from pathlib import Path

import pytest

from pipelines.environments.python import FOLDER_VARIABLE, get_environment_folder
from schemas.errors import UsageError
from training.data.tables import _get_cache_home

NO_HOME = "there is no home folder, because HOME is not set: set it, or "


def test_no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", FOLDER_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # of no user
    with pytest.raises(UsageError, match=f"^{re.escape(NO_HOME)}{FOLDER_VARIABLE}$"):
        get_environment_folder("paddleocr")
    with pytest.raises(UsageError, match=rf"^{re.escape(NO_HOME)}data\.cache$"):
        _get_cache_home()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert get_environment_folder("paddleocr").parent == tmp_path
