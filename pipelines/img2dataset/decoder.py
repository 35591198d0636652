"""Decodes images for `decoding.py`, one after another; a program that runs in img2dataset's environment.

    python decoder.py CPU_SECONDS

It receives the arguments of `img2dataset.download`, then requests: to resize an image, or for the EXIF of the last one.
If a request takes more than CPU_SECONDS, the kernel ends the process (RLIMIT_CPU), even inside native code, which no
code within the process could interrupt.
"""

import inspect
import io
import json
import math
import os
import resource
import struct
import sys
from typing import Any, BinaryIO

HEADER = struct.Struct("<II")  # sizes in bytes: of the JSON, and of the data after it


def send(file: BinaryIO, values: Any, data: bytes = b"") -> None:
    """Writes one message: header, JSON, data."""
    text = json.dumps(values).encode()
    file.write(HEADER.pack(len(text), len(data)) + text)
    file.write(data)
    file.flush()


def receive(file: BinaryIO) -> tuple[Any, bytes]:
    """Reads one message. Raises `EOFError` at the end of the stream or for an incomplete message."""
    head = file.read(HEADER.size)
    if len(head) < HEADER.size:
        raise EOFError
    text_size, data_size = HEADER.unpack(head)
    body = file.read(text_size + data_size)
    if len(body) < text_size + data_size:
        raise EOFError
    return json.loads(body[:text_size]), body[text_size:]


def limit_cpu(seconds: int) -> None:
    """Limits the CPU time of this process to a number of seconds from now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard_limit = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime) + seconds, hard_limit))


def read_exif(image: bytes) -> dict[str, str]:
    """Returns an image's EXIF as img2dataset writes it."""
    import exifread  # type: ignore[import-not-found]  # only in img2dataset's environment

    found = exifread.process_file(io.BytesIO(image), details=False)
    return {name: str(value).strip() for name, value in found.items() if value is not None}


def make_resizer(options: dict[str, Any]) -> Any:
    """Builds the `Resizer` that `img2dataset.download` would build from these arguments."""
    from img2dataset.blurrer import BoundingBoxBlurrer  # type: ignore[import-not-found]
    from img2dataset.resizer import Resizer  # type: ignore[import-not-found]

    own = {name: options[name] for name in inspect.signature(Resizer).parameters if name in options}
    return Resizer(**own, blurrer=None if options.get("bbox_col") is None else BoundingBoxBlurrer())


def serve(requests: BinaryIO, responses: BinaryIO, seconds: int) -> None:
    """Responds to requests until the stream ends. `seconds` is the CPU time per request."""
    resizer = make_resizer(receive(requests)[0])
    send(responses, "ready")
    image = b""
    while True:
        try:
            request, data = receive(requests)
        except EOFError:
            return
        limit_cpu(seconds)
        if request["what"] == "exif":
            try:
                send(responses, read_exif(image))
            except Exception:  # noqa: BLE001  hostile EXIF can raise anything
                send(responses, None)
            continue
        image = data
        made, *sizes, error = resizer(io.BytesIO(image), request["boxes"])
        send(responses, {"sizes": sizes, "error": error}, made or b"")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _RESPONSES = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries print to stdout, which carries the responses
    serve(sys.stdin.buffer, _RESPONSES, int(sys.argv[1]))
