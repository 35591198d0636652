"""Loaded by every Python process of a kill test: dies between the temporary write and the rename.

The file named by KILL_ORDER holds a pattern; the first process that is about to put a matching file in place takes the
order and is gone, as by SIGKILL from outside.
"""

import os
import pathlib
import re
import signal

_replace = pathlib.Path.replace
_order = os.environ.get("KILL_ORDER")


def replace(self: pathlib.Path, target: str | os.PathLike[str]) -> pathlib.Path:
    if _order and os.path.exists(_order):  # noqa: PTH110
        with open(_order) as file:  # noqa: PTH123
            pattern = file.read()
        if pattern and re.search(pattern, str(target)):
            os.rename(_order, f"{_order}.taken")  # noqa: PTH104
            os.kill(os.getpid(), signal.SIGKILL)
    return _replace(self, target)


pathlib.Path.replace = replace  # type: ignore[method-assign]
