"""Records the folders of the image tars that a set by reference points to, and finds them again.

The index of such a set names each tar by its path or URL, and the manifest names the folders of these tars. A reader
opens no tar outside of these folders. A folder is where it was recorded; if it was moved together with the set, it is
at the same path from the set; otherwise the user says where it is. The set's author chooses what is recorded, so a
reader asks a server that a set names only if it is the set's own server or the user names it too: a name may lead to a
private address. Nothing of a tar is used before it has the hash that the index stores.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from schemas.errors import UsageError
from schemas.masking import MASK, mask_secrets
from schemas.storage.folder import Folder, split_path

STORES = ("s3", "s3a", "gs", "gcs")
"""Protocols whose URLs name a bucket: the server is the one that the user's own settings name."""

ADVICE = "restore it, or if it was moved, pass --images (in a recipe, images) with the present folder of the images"
"""What to do about a tar that is missing."""

_MASKED_QUERY = f"?{MASK}"

Places = Mapping[str, str]
"""The present folder or URL, by a recorded folder or one above it."""


def _check_path(path: str) -> str:
    """Returns the path. Raises `ValueError` unless it is absolute or a URL, and each of its parts is a name."""
    protocol, mark, rest = path.partition("://")
    parts = (rest if mark else path[1:]).split("/")
    is_url = mark and protocol.isalnum()
    if not (is_url or path.startswith("/")) or "\0" in path or any(part in (".", "..") for part in parts):
        raise ValueError("is not an absolute path or a URL")
    return mask_secrets(path)


def _check_relative_path(path: str) -> str:
    if path.startswith("/") or "\0" in path:
        raise ValueError("is not a relative path")
    return path


class ImageFolder(BaseModel):
    """Describes a folder of image tars as it was when the set was written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, AfterValidator(_check_path)]
    # its path from the set's folder; None if either is at a URL
    from_set: Annotated[str, AfterValidator(_check_relative_path)] | None = None


@lru_cache(64)
def make_tar_path(path: str) -> str:
    """Returns the absolute path of a local tar, or the URL of another one, without a password, as an index stores it.

    Raises `UsageError` for a URL with a query: it may be a secret, and no image is found without it.
    """
    folder, name = split_path(path)
    if folder.is_local:
        return _make_absolute(folder.get_local_path(name))
    url = mask_secrets(path)
    if _MASKED_QUERY in url:
        raise UsageError(
            f"{url}: a set by reference stores no query of a URL, because it may be a secret: give URLs without one, "
            "copy the tars first, or leave out by_reference"
        )
    return url


def describe_folders(tars: Iterable[str], output: Folder) -> list[ImageFolder]:
    """Returns the folders of these tars, sorted, for the manifest of a set in the folder `output`."""
    root = _make_absolute(output.get_local_path("")) if output.is_local else None
    return [
        ImageFolder(path=path, from_set=os.path.relpath(path, root) if root and path.startswith("/") else None)
        for path in sorted({split_tar_path(tar)[0] for tar in tars})
    ]


def split_tar_path(tar: str) -> tuple[str, str]:
    """Returns the folder of a tar and its name in it."""
    folder, _, name = tar.rpartition("/")
    return "/" if tar == f"/{name}" else folder, name


def locate_folders(output: Folder, recorded: Iterable[ImageFolder], places: Places) -> dict[str, str]:
    """Returns where each folder that a set names is now, by its recorded path. Raises `UsageError` if it is not found.

    Also raises `UsageError` for a folder on a server that neither the user nor the set's own URL names.
    """
    return {folder.path: _locate(output, folder, places) for folder in recorded}


def locate_tar(tar: str, folders: Mapping[str, str]) -> str | None:
    """Returns the present path or URL of a tar; None for one in a folder that is not among `folders`."""
    folder, name = split_tar_path(tar)
    place, name = folders.get(folder), name.removesuffix(_MASKED_QUERY)  # sets of older versions may have one
    is_on_web = tar.lower().startswith(("http://", "https://"))
    is_tar = (name.partition("?")[0] if is_on_web else name).endswith(".tar")
    return f"{place.rstrip('/')}/{name}" if place is not None and is_tar else None


def parse_places(values: Sequence[str], recorded: Iterable[ImageFolder]) -> dict[str, str]:
    """Parses an option given as OLD=NEW, or as NEW where the set names one folder. Raises `UsageError`."""
    known = sorted({folder.path for folder in recorded})
    places: dict[str, str] = {}
    for value in values:
        ends = [at for at, character in enumerate(value) if character == "="]  # a path may have several
        old = next((value[:at] for at in ends if any(is_below(path, value[:at]) for path in known)), None)
        if old is not None:
            places[old] = value[len(old) + 1 :]
        elif len(known) == 1:
            places[known[0]] = value
        else:
            names = f"{', '.join(known[:3])}{', ...' if len(known) > 3 else ''}" or "none: it has its images in it"
            raise UsageError(f"--images {value}: give OLD=NEW; the folders of images that the set names are {names}")
    return places


def is_below(path: str, folder: str) -> bool:
    """Returns whether a path or URL is this folder, or lies below it."""
    folder = folder.rstrip("/")
    return bool(folder) and (path == folder or path.startswith(f"{folder}/"))


def _locate(output: Folder, folder: ImageFolder, places: Places) -> str:
    path = folder.path
    if given := max((old for old in places if is_below(path, old)), key=len, default=""):
        return places[given].rstrip("/") + path[len(given.rstrip("/")) :]
    advice = "pass --images {0}={1}, or in a recipe images (a trainer's data.images): {{{0}: {1}}}"
    if "://" in path:
        if _get_server(path) not in ("", _get_server(output.url)):
            fault = f"its images are at {path}, a server that only the set names: to have it asked, "
            raise UsageError(f"{output.url}: {fault}{advice.format(path, path)}")
        return path
    found = [path]
    if output.is_local and folder.from_set is not None:
        found.append(_make_absolute(output.get_local_path(folder.from_set)))
    for place in found:
        if Path(place).is_dir():
            return place
    fault = f"its images were in {path}, which is not there now: "
    raise UsageError(f"{output.url}: {fault}{advice.format(path, 'FOLDER')}")


def _make_absolute(path: Path) -> str:
    """Returns an absolute path without `..`; links stay, because a link may be all that stays in place."""
    return os.path.normpath(path.absolute())


def _get_server(url: str) -> str:
    """Returns the protocol and server that a URL names; empty if the user's own settings name the server."""
    protocol, _, rest = url.partition("://")
    return "" if protocol.lower() in STORES else f"{protocol}://{rest.partition('/')[0]}".lower()
