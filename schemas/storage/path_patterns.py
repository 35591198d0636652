"""Finds the files and folders that a pattern names: a path, or a shell glob with braces."""

import itertools
import os
import re
from typing import Any

from braceexpand import UnbalancedBracesError, braceexpand  # type: ignore[attr-defined]  # it has no types
from fsspec.utils import glob_translate

from schemas.errors import UsageError, to_one_line
from schemas.storage.file_system import describe_os_error, open_file_system

MAX_PATTERNS = 1_000_000  # limit of the patterns that braces expand to
_MAGIC = set("*?[")
_IN_NAMES = set("[{?")  # names contain these too, so the store is asked for such a path; no name contains a star


def is_pattern(path: str) -> bool:
    """Returns whether a path may name several files or folders."""
    return not (_MAGIC | _IN_NAMES).isdisjoint(path)


def list_matching(pattern: str) -> list[str]:
    """Returns the paths or URLs that a pattern names, sorted. Raises `UsageError` if none matches."""
    return sorted(list_matching_sizes(pattern))


def list_matching_sizes(pattern: str) -> dict[str, int]:
    """Returns the paths or URLs that a pattern names with their sizes in bytes. Raises `UsageError` if none matches.

    The sizes come from the listing: one request per file takes hours for many shards. A path that exists is taken
    literally, even with brackets or braces in it, and so is the longest folder at the start of the pattern that exists.
    In the rest, `{000..127}` and `{a,b}` expand to several patterns, each of which must match; and `*` matches no
    hidden file, as in a shell: those are metadata of other programs (`._0.tar`, `.nfs...`).
    """
    fs, root = open_file_system(pattern)
    sizes: dict[str, int] = {}
    try:
        start = _count_literal_parts(fs, root, 0)
        for path in _expand_braces(root, start, pattern):
            found = _list_matches(fs, path, _count_literal_parts(fs, path, start))
            if not found:
                raise UsageError(f"no file matches {_restore_spelling(pattern, path)}")
            sizes |= {_restore_spelling(pattern, each): _get_size(fs, each, entry) for each, entry in found.items()}
    except OSError as error:
        raise UsageError(f"cannot list {pattern}: {describe_os_error(error)}") from None
    except ValueError as error:  # `a**`, or a whole store
        raise UsageError(f"{pattern}: {to_one_line(error)}") from None
    return sizes


def _count_literal_parts(fs: Any, path: str, start: int) -> int:
    """Returns the number of names at the start of a path that are taken literally; the first `start` are known."""
    parts = path.split("/")
    if _is_literal(fs, path, parts[start:]):  # the whole path first, because a URL's query may have slashes
        return len(parts)
    ends = range(start, len(parts))
    return next((end for end in ends if not _is_literal(fs, "/".join(parts[: end + 1]), [parts[end]])), len(parts))


def _is_literal(fs: Any, path: str, names: list[str]) -> bool:
    """Returns whether these names at the end of a path have no wildcard and no brace, or the path exists."""
    characters = set().union(*names)
    return "*" not in characters and (_IN_NAMES.isdisjoint(characters) or _exists(fs, path))


def _exists(fs: Any, path: str) -> bool:
    return bool(fs.isfile(path) or fs.isdir(path))


def _expand_braces(path: str, start: int, pattern: str) -> list[str]:
    """Expands the braces of a path, except in the first `start` of its names. `pattern` names it in errors."""
    parts = path.split("/")
    literal, rest = parts[:start], "/".join(parts[start:])
    try:
        found = list(itertools.islice(braceexpand(rest, escape=False), MAX_PATTERNS + 1))
    except UnbalancedBracesError:
        return [path]
    if len(found) > MAX_PATTERNS:
        raise UsageError(f"{pattern}: its braces expand to more than {MAX_PATTERNS:,} paths: use a glob")
    return ["/".join([*literal, one]) for one in found] if rest else [path]


def _list_matches(fs: Any, path: str, start: int) -> dict[str, Any]:
    """Returns the matches of a glob with their entries, except hidden ones; its first `start` names are literal."""
    parts = path.split("/")
    folder, rest = "/".join(parts[:start]), "/".join(parts[start:])
    try:
        if not rest and not _MAGIC.isdisjoint(path):
            return {path: fs.info(path)}
        found = _glob(fs, path) if _MAGIC.isdisjoint(folder) else _glob_below(fs, folder, rest)
    except FileNotFoundError:
        return {}
    return {path: entry for path, entry in found.items() if not _is_hidden(path.split("/")[start:], parts[start:])}


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


def _glob_below(fs: Any, folder: str, rest: str) -> dict[str, Any]:
    """Works like `_glob` below a folder whose own name looks like a pattern to fsspec."""
    depth = None if "**" in rest else rest.count("/") + 1
    expression = re.compile(glob_translate(rest))
    found: dict[str, Any] = {}
    for _, folders, files in fs.walk(folder, maxdepth=depth, detail=True, on_error="raise"):
        entries = (*folders.values(), *files.values())
        found |= {entry["name"]: entry for entry in entries if expression.match(entry["name"][len(folder) + 1 :])}
    return found


def _is_hidden(names: list[str], pattern: list[str]) -> bool:
    """Returns whether a wildcard matched a name that begins with a dot; a pattern may ask for one by its own dot."""
    if any(part.startswith(".") for part in pattern):
        return False
    return any(name.startswith(".") for name in names)


def _restore_spelling(pattern: str, path: str) -> str:
    """Returns a path of the file system as the pattern spells it: with its protocol, or relative."""
    if "://" in path:  # names on web servers are whole URLs
        return path
    if "://" in pattern:
        return f"{pattern.split('://', 1)[0]}://{path}"
    return path if pattern.startswith("/") else os.path.relpath(path)


def _get_size(fs: Any, path: str, entry: Any) -> int:
    """Returns a file's size in bytes. A listing without sizes, such as a web server's, costs one request per file."""
    if entry["size"] is None and "://" in path:
        entry = fs.info(path)
        if entry["size"] is None:
            raise UsageError(f"{path}: its server does not report its size: copy it to a disk or an object store first")
    return int(entry["size"] or 0)
