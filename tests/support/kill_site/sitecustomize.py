"""Loaded by every Python process of a kill test: the process dies inside a write, or of an image.

The file named by KILL_ORDER holds a pattern. The first process that is about to give a matching file or folder its name
takes the order and dies as by SIGKILL from outside. Half of the temporary file is then left, as in the middle of a
write; a temporary folder is left whole. What has died, and where, is then in the order's file, which ends in `.taken`.

Every process that opens an image with KILL_BYTES in its file dies of it, as decoders do that write beyond their memory,
and leaves a line in the file named by KILL_LOG. Where KILL_HOW is "hang", it works on without end instead, and no
signal that can be handled reaches it.
"""

import json
import os
import re
import signal
import sys


def obey(event, arguments):  # type: ignore[no-untyped-def]
    """Takes the order at a matching rename or link, which Python reports to audit hooks before it is done."""
    if event not in ("os.rename", "os.link"):
        return
    written, target = (os.fsdecode(path) for path in arguments[:2])
    try:
        with open(_order) as file:  # noqa: PTH123
            pattern = file.read()
        if not pattern or not re.search(pattern, target):
            return
        os.rename(_order, claimed := f"{_order}.{os.getpid()}")  # noqa: PTH104  only one process can
    except FileNotFoundError:
        return
    if os.path.isfile(written):  # noqa: PTH113
        os.truncate(written, os.path.getsize(written) // 2)  # noqa: PTH202
    with open(claimed, "w") as file:  # noqa: PTH123
        json.dump({"process": os.getpid(), "written": written, "target": target}, file)
    os.rename(claimed, f"{_order}.taken")  # noqa: PTH104
    os.kill(os.getpid(), signal.SIGKILL)


if _order := os.environ.get("KILL_ORDER"):
    sys.addaudithook(obey)


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
