"""Finds the files and folders that a pattern names: a path, or a shell glob with braces."""

import itertools
import os
from typing import Any

from braceexpand import UnbalancedBracesError, braceexpand  # type: ignore[attr-defined]  # it has no types

from schemas.errors import UsageError, to_one_line
from schemas.storage.folder import describe_os_error, open_file_system

MAX_PATTERNS = 1_000_000  # limit of the patterns that braces expand to
_MAGIC = set("*?[")
_IN_NAMES = set("[{?")  # file names contain these too, so the store is asked for such a file; no name contains a star


def list_matching(pattern: str) -> list[str]:
    """Returns the paths or URLs that a pattern names, sorted. Raises `UsageError` if none matches."""
    return sorted(list_matching_sizes(pattern))


def list_matching_sizes(pattern: str) -> dict[str, int]:
    """Returns the paths or URLs that a pattern names with their sizes in bytes. Raises `UsageError` if none matches.

    The sizes come from the listing: one request per file takes hours for many shards. A path that exists is taken
    literally, even with brackets or braces in it. Otherwise `{000..127}` and `{a,b}` expand to several patterns, each
    of which must match; and `*` matches no hidden file, as in a shell: those are metadata of other programs (`._0.tar`,
    `.nfs...`).
    """
    fs, root = open_file_system(pattern)
    if set(root) & _IN_NAMES and _is_file(fs, root, pattern):
        return _restore_spelling(fs, pattern, {root: fs.info(root)})
    sizes: dict[str, int] = {}
    for one in _expand_braces(pattern):
        sizes |= _list_glob_sizes(one)
    return sizes


def _expand_braces(pattern: str) -> list[str]:
    try:
        found = list(itertools.islice(braceexpand(pattern, escape=False), MAX_PATTERNS + 1))
    except UnbalancedBracesError:
        return [pattern]
    if len(found) > MAX_PATTERNS:
        raise UsageError(f"{pattern}: its braces expand to more than {MAX_PATTERNS:,} paths: use a glob")
    return found


def _list_glob_sizes(pattern: str) -> dict[str, int]:
    fs, root = open_file_system(pattern)
    try:
        found = _glob(fs, root)
    except FileNotFoundError:
        found = {}
    except OSError as error:
        raise UsageError(f"cannot list {pattern}: {describe_os_error(error)}") from None
    except ValueError as error:  # `a**`, or a whole store
        raise UsageError(f"{pattern}: {to_one_line(error)}") from None
    found = {path: entry for path, entry in found.items() if not _is_hidden(path, root)}
    if not found:
        raise UsageError(f"no file matches {pattern}")
    return _restore_spelling(fs, pattern, found)


def _glob(fs: Any, root: str) -> dict[str, Any]:
    """Returns the matches of a glob. A refused listing is an error here; fsspec would return an empty result."""
    if not set(root) & _MAGIC or "**" in root:  # these raise without `on_error`
        return dict(fs.glob(root, detail=True))
    try:
        return dict(fs.glob(root, detail=True, on_error="raise"))
    except TypeError:  # s3fs forwards the option to a call that has none, if the name begins with plain characters
        found = dict(fs.glob(root, detail=True))
    if not found:
        fs.ls(root[: min(root.index(char) for char in _MAGIC & set(root))].rpartition("/")[0])
    return found


def _is_file(fs: Any, root: str, pattern: str) -> bool:
    try:
        return bool(fs.isfile(root))
    except OSError as error:
        raise UsageError(f"cannot list {pattern}: {describe_os_error(error)}") from None


def _is_hidden(path: str, root: str) -> bool:
    """Returns whether a wildcard matched a name that begins with a dot; a pattern may ask for one by its own dot."""
    parts = root.split("/")
    plain = next((number for number, part in enumerate(parts) if set(part) & _MAGIC), len(parts))
    if any(part.startswith(".") for part in parts[plain:]):
        return False
    return any(part.startswith(".") for part in path.split("/")[plain:])


def _restore_spelling(fs: Any, pattern: str, found: dict[str, Any]) -> dict[str, int]:
    protocol = pattern.split("://", 1)[0] + "://" if "://" in pattern else ""
    if not protocol and not pattern.startswith("/"):  # a relative pattern gives relative paths
        found = {os.path.relpath(path): entry for path, entry in found.items()}
    # names on web servers are whole URLs
    return {path if "://" in path else protocol + path: _get_size(fs, path, entry) for path, entry in found.items()}


def _get_size(fs: Any, path: str, entry: Any) -> int:
    """Returns a file's size in bytes. A listing without sizes, such as a web server's, costs one request per file."""
    if entry["size"] is None and "://" in path:
        entry = fs.info(path)
        if entry["size"] is None:
            raise UsageError(f"{path}: its server does not report its size: copy it to a disk or an object store first")
    return int(entry["size"] or 0)
