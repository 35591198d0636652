"""Engines tell nobody of what they do."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY


def test_onnx_runtime_leaves_no_identifier(tmp_path: Path) -> None:
    """It keeps one among the temporary files, as `.ses`, when it is about to report; CI would silence it as well."""
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    code = "from curation.engines.ocr.runtime.rapidocr import RapidOcr; RapidOcr()"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment, check=True)
    assert list(tmp_path.iterdir()) == []
