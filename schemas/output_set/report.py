"""Writes `report.html` at the end of a run: a page of a sample of what the folder holds.

The pages are drawn in `pipelines.view`, which imports the packages of all commands that end with a report, and the
trainer may not import it at all. So its module is found by name, as a plug-in is.
"""

import importlib
from collections.abc import Mapping

from schemas.activity import report_activity
from schemas.errors import to_one_line
from schemas.log import LOG
from schemas.output_set.layout import REPORT
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder

WRITER = "pipelines.view.report"


def write_report(folder: Folder, manifests: Mapping[str, Manifest] | None = None) -> None:
    """Writes the report of a finished run, if its kind has a view; logs one line if that fails, whatever the reason.

    `manifests` are those of the folder, where the caller has read them: a set of 200 million images has thousands.
    """
    try:
        with report_activity(f"writing {folder.resolve_path(REPORT)}"):
            importlib.import_module(WRITER).write_report(folder, manifests)
    except Exception as error:  # noqa: BLE001  the run has done its work, and no picture of it is worth failing for
        LOG.warning(f"{folder.resolve_path(REPORT)} was not written: {to_one_line(error, with_type=True)}")
