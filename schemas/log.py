"""Defines the program's log, `logging.getLogger("shardloom")`: messages and progress, for people.

A command shows it on stderr (`configure_log`); in a program that imports Shardloom it goes where that program's
handlers send it. Results are not logged but printed to stdout (`schemas.terminal`).
"""

import logging
import sys
from pathlib import Path

from schemas.errors import UsageError
from schemas.masking import mask_secrets
from schemas.terminal import SILENCE, escape_controls

LOG = logging.getLogger("shardloom")

_TIMED_LINE = "%(asctime)s %(levelname)s %(message)s"


def _make_safe(record: logging.LogRecord) -> bool:
    """Escapes control characters and masks secrets, for every handler: messages quote names and texts from data."""
    record.msg, record.args = mask_secrets(escape_controls(record.getMessage())), None
    return True


LOG.addFilter(_make_safe)


class _StderrHandler(logging.Handler):
    """Writes to what is `sys.stderr` at that time, which a progress bar replaces while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, "is_on_screen", False):  # as progress is, in a bar
            print(self.format(record), file=sys.stderr, flush=True)  # noqa: T201
            SILENCE.end()


def configure_log(level: int = logging.INFO, file: str | None = None, process: str = "") -> None:
    """Shows messages of this level and above on stderr, and appends those of every level to the file, with their time.

    Messages of a worker process begin with `process`, its name. A second call replaces the first. Raises `UsageError`
    if the file cannot be written.
    """
    reset_log()
    stderr = _StderrHandler(level)
    handlers: list[logging.Handler] = [stderr]
    if file is not None:
        try:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            handlers.append(logging.FileHandler(file, encoding="utf-8"))
        except OSError as error:
            raise UsageError(
                f"--log-file {file}: {error.strerror}; name a file in a folder that you can write"
            ) from None
    begin = f"{process}: ".lstrip(": ").replace("%", "%%")
    for handler in handlers:
        is_timed = handler is not stderr or level < logging.INFO
        handler.setFormatter(logging.Formatter(begin + (_TIMED_LINE if is_timed else "%(message)s")))
        LOG.addHandler(handler)
    LOG.setLevel(logging.DEBUG if file is not None else level)
    LOG.propagate = False  # a handler of a library's would show each message twice


def reset_log() -> None:
    """Removes the handlers that `configure_log` added."""
    for handler in LOG.handlers[:]:
        LOG.removeHandler(handler)
        handler.close()
    LOG.setLevel(logging.NOTSET)
    LOG.propagate = True


def is_shown(level: int) -> bool:
    """Returns whether messages of this level are shown on stderr: never where the log is not configured."""
    return any(isinstance(handler, _StderrHandler) and handler.level <= level for handler in LOG.handlers)


def get_worker_level() -> int:
    """Returns the level of workers' messages. Ray sends their details to the terminal only with `--verbose`."""
    return logging.DEBUG if is_shown(logging.DEBUG) else logging.WARNING
