"""Checks an output set and describes its faults in lines of text."""

from collections.abc import Sequence

from pipelines.verify.inspection import inspect
from schemas.storage.folder import Folder


def verify(output: str, images: Sequence[str] = (), skip_images: bool = False) -> tuple[int, list[str]]:
    """Returns the number of outputs checked, and one line per fault, which names its file.

    Of a set by reference, `images` has the present folders of image tars that were moved, as OLD=NEW, or NEW if there
    is one; with `skip_images` the images are not read, only their places in the tars are checked.
    """
    inspection = inspect(Folder(output), images, not skip_images)
    return len(inspection.names), [fault.line for fault in inspection.faults]
