"""Checks an output set and describes its faults in lines of text."""

from pipelines.verify.inspection import inspect
from schemas.storage.folder import Folder


def verify(output: str) -> tuple[int, list[str]]:
    """Returns the number of outputs checked, and one line per fault, which names its file."""
    inspection = inspect(Folder(output))
    return len(inspection.names), [fault.line for fault in inspection.faults]
