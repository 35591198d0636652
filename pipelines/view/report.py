"""Writes the page of a sample at the end of a run, within seconds, however large the set is."""

import time
from collections.abc import Mapping

from pipelines.view.options import ViewOptions
from pipelines.view.run import build_page, fit_page
from schemas.output_set.layout import REPORT
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder

SAMPLE = 24  # samples; a glance at what came out, which `view` shows more of
MAX_MEGABYTES = 4.0  # of the page, in each set that is copied or uploaded
MAX_SECONDS = 4.0  # of reading, after which what has been read is shown; a run of a tiny set takes as long


def write_report(folder: Folder, manifests: Mapping[str, Manifest] | None = None) -> None:
    """Writes `report.html` into the folder of a run. `manifests` are those of its set, if they are known."""
    deadline = time.monotonic() + MAX_SECONDS
    options = ViewOptions(sample=SAMPLE, max_megabytes=MAX_MEGABYTES, deadline=deadline)
    page = build_page(folder, options, manifests)
    folder.write(REPORT, fit_page(page, options.max_bytes))
