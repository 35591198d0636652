"""Loaded by every Python process of a kill test: dies between the temporary write and the rename, or of an image.

The file named by KILL_ORDER holds a pattern; the first process that is about to put a matching file in place takes the
order and is gone, as by SIGKILL from outside. Every process that opens an image with KILL_BYTES in its file dies of it,
as decoders do that write beyond their memory, and leaves a line in the file named by KILL_LOG. Where KILL_HOW is
"hang", it works on without end instead, and no signal that can be handled reaches it.
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


if _bytes := os.environ.get("KILL_BYTES", "").encode():
    from PIL import Image

    _open = Image.open

    def open_image(file, *arguments, **options):  # type: ignore[no-untyped-def]
        if _bytes in file.getvalue():
            with open(os.environ["KILL_LOG"], "a") as log:  # noqa: PTH123
                log.write(f"{os.getpid()}\n")
            if os.environ.get("KILL_HOW") == "hang":
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGPROF])
                while True:
                    pass
            os.kill(os.getpid(), signal.SIGKILL)
        return _open(file, *arguments, **options)

    Image.open = open_image
