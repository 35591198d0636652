"""Checks an output set, and says in lines what is wrong with it."""

from pipelines.verify.inspection import inspect
from schemas.storage.folder import Folder


def verify(output: str) -> tuple[int, list[str]]:
    """The number of outputs checked, and what is wrong, one line a fault, each naming its file."""
    inspection = inspect(Folder(output))
    return len(inspection.names), [fault.line for fault in inspection.faults]
