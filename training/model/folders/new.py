"""Writes a new folder of a model whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from curation.engines.weights import silence_transformers
from schemas.errors import ShardloomError, UsageError, to_one_line

CONFIG_FILE = "config.json"

_UNFINISHED = ".unfinished"
_FULL = "No space left"


def check_is_new(folder: Path) -> None:
    """Raises `UsageError` unless a model may be saved into the folder: it is not there, or empty."""
    if folder.exists() and not (folder.is_dir() and _is_empty(folder)):
        raise UsageError(f"export: {folder} exists and is not empty; pass a new folder")


@contextmanager
def open_export(target: Path, replace: bool = False) -> Iterator[Path]:
    """Yields a folder to write into, which becomes `target` when the block is done, and is removed when it fails.

    With `replace`, an existing model stays until then. Raises `UsageError` when `target` is not empty, `ShardloomError`
    when it can't be written.
    """
    if not (replace and target.is_dir()):
        check_is_new(target)
    silence_transformers()
    place = target.resolve()  # the working folder's path has no name
    is_there = place.is_dir() and _is_empty(place)
    unfinished = place / _UNFINISHED if is_there else place.with_name(f".{place.name}{_UNFINISHED}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        if is_there:
            _move_files(unfinished, place)
        else:
            _rename(unfinished, place)
    except Exception as error:
        if not isinstance(error, OSError | SafetensorError) and type(error) is not Exception:  # of tokenizers
            raise
        what = to_one_line(error)
        advice = "free disk space, and export the model again" if _FULL in what else "pass another folder"
        raise ShardloomError(f"export: cannot write {target}: {what}; {advice}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _is_empty(folder: Path) -> bool:
    """Returns whether the folder has nothing but what a killed export has left."""
    return all(one.name == _UNFINISHED for one in folder.iterdir())


def _move_files(unfinished: Path, place: Path) -> None:
    """Moves the files into an empty folder, which may be a mount and so can't be replaced; the configuration last."""
    for path in sorted(unfinished.iterdir(), key=lambda one: one.name == CONFIG_FILE):
        path.replace(place / path.name)


def _rename(unfinished: Path, place: Path) -> None:
    """Gives the folder its name, in place of an older model's, which is removed then."""
    old = place.with_name(f".{place.name}.old")
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
        place.replace(old)
    unfinished.replace(place)
    shutil.rmtree(old, ignore_errors=True)
