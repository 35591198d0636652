"""Writes an export's folder whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from curation.engines.weights import silence_transformers
from schemas.errors import ShardloomError, to_one_line
from training.model.pretrained import check_is_new


@contextmanager
def open_export(target: Path) -> Iterator[Path]:
    """Yields a folder to write into, which becomes `target` when the block is done, and is removed when it fails.

    Raises `UsageError` when `target` is not empty, `ShardloomError` when it can't be written.
    """
    check_is_new(target)
    silence_transformers()
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        unfinished.replace(target)
    except (OSError, SafetensorError) as error:
        what = to_one_line(error)
        raise ShardloomError(
            f"export: cannot write {target}: {what}; free disk space, and export the model again"
        ) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
