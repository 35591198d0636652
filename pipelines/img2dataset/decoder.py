"""Decodes images for `decoding.py`, one after the other: a program of img2dataset's environment.

    python decoder.py CPU_SECONDS

It is sent one `Resizer` of img2dataset's, pickled, and then images. For each it may take so much of a processor's time;
the kernel ends it when it takes more, wherever it is, which nothing within a process can do.
"""

import io
import json
import math
import os
import pickle
import resource
import struct
import sys
from typing import Any, BinaryIO

HEAD = struct.Struct("<II")  # bytes of JSON, and of what follows it


def send(file: BinaryIO, values: Any, data: bytes = b"") -> None:
    """Writes one message."""
    text = json.dumps(values).encode()
    file.write(HEAD.pack(len(text), len(data)) + text)
    file.write(data)
    file.flush()


def receive(file: BinaryIO) -> tuple[Any, bytes]:
    """Reads one message. Raises `EOFError` when there is none, or less than all of it."""
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        raise EOFError
    size, more = HEAD.unpack(head)
    body = file.read(size + more)
    if len(body) < size + more:
        raise EOFError
    return json.loads(body[:size]), body[size:]


def allow(seconds: int) -> None:
    """Gives this process so much time of a processor from here on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime) + seconds, most))


def exif_of(image: bytes) -> dict[str, str]:
    """Returns an image's EXIF as img2dataset writes it."""
    import exifread  # type: ignore[import-not-found]  # of the other environment

    found = exifread.process_file(io.BytesIO(image), details=False)
    return {name: str(value).strip() for name, value in found.items() if value is not None}


def serve(requests: BinaryIO, answers: BinaryIO, seconds: int) -> None:
    """Answers until nobody asks any more."""
    _, pickled = receive(requests)
    resizer = pickle.loads(pickled)  # noqa: S301  our own bytes
    send(answers, "ready")
    image = b""
    while True:
        try:
            asked, data = receive(requests)
        except EOFError:
            return
        allow(seconds)
        if asked["what"] == "exif":
            try:
                send(answers, exif_of(image))
            except Exception:  # noqa: BLE001  whatever a stranger's EXIF does
                send(answers, None)
            continue
        image = data
        made, *sizes, error = resizer(io.BytesIO(image), asked["boxes"])
        send(answers, {"sizes": sizes, "error": error}, made or b"")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _ANSWERS = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries say things
    serve(sys.stdin.buffer, _ANSWERS, int(sys.argv[1]))
