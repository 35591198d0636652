"""Decodes images in a separate process that can be killed; imported by the `runner.py` program.

A file of 420 kB can take minutes to decode (a progressive JPEG with thousands of scans), and a file that crashes the
decoder ends its process. img2dataset decodes in the process that writes the shard, so that either would cost all images
of the shard. With a separate decoder, only that image is lost.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from decoder import receive, send  # type: ignore[import-not-found]  # beside this file

# Wall time waited per CPU second allowed, since machines are busy; and seconds to load img2dataset.
WAIT_FACTOR, START_SECONDS = 10, 300.0

PROGRAM = Path(__file__).with_name("decoder.py")


class KilledDecoderError(Exception):
    """Reports that the process that decoded an image died or was killed."""


class Decoder:
    """Decodes images one after another in a process of its own, and starts a new one after that dies."""

    def __init__(self, seconds: int, options: dict[str, Any], program: Path = PROGRAM) -> None:
        """`seconds` is the CPU time that one request may take, `options` the arguments of `img2dataset.download`.

        `program` is what the other process runs.
        """
        self._seconds, self._options, self._program = seconds, options, program
        self._process: subprocess.Popen[bytes] | None = None

    def resize(self, image: bytes, boxes: Any) -> tuple[Any, ...]:
        """Returns what img2dataset's `Resizer` does: the new file, four sizes in pixels, and the error or None."""
        try:
            said, made = self._ask({"what": "resize", "boxes": boxes}, image)
        except KilledDecoderError as error:
            return None, None, None, None, None, str(error)
        return made if said["error"] is None else None, *said["sizes"], said["error"]

    def read_exif(self) -> dict[str, str]:
        """Returns the EXIF of the image resized last. Raises `KilledDecoderError` if it can't be read."""
        found = None if self._process is None else self._ask({"what": "exif"}, b"")[0]
        if found is None:
            raise KilledDecoderError("there is no EXIF that can be read")
        return dict(found)

    def _ask(self, question: dict[str, Any], image: bytes) -> tuple[Any, bytes]:
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            send(process.stdin, question, image)
            return self._read_response(process, WAIT_FACTOR * self._seconds)
        except (EOFError, OSError):
            raise KilledDecoderError(self._end()) from None

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", str(self._program), str(self._seconds)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        try:
            send(process.stdin, self._options)
            self._read_response(process, START_SECONDS)
        except (EOFError, OSError):
            print("the image decoder does not start", flush=True)  # noqa: T201  to the run's log
            os.killpg(os.getpgrp(), signal.SIGKILL)  # else every image of the shard would be lost in turn
        self._process = process
        return process

    def _read_response(self, process: subprocess.Popen[bytes], seconds: float) -> tuple[Any, bytes]:
        """Reads one message. Raises `EOFError` if the process has died, `TimeoutError` after `seconds`."""
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], seconds)[0]:
            raise TimeoutError
        return receive(process.stdout)  # type: ignore[no-any-return]

    def _end(self) -> str:
        """Ends the process. Returns why it failed, as an error message of the image."""
        process, self._process = self._process, None
        assert process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):  # it has died or is dying
            process.wait(1)
        is_silent = process.poll() is None
        process.kill()
        with contextlib.suppress(OSError):  # unsent data in the pipe
            process.communicate()
        if is_silent or process.returncode == -signal.SIGXCPU:
            return f"took over {self._seconds} s to decode"
        return f"killed its decoder (exit {process.returncode})"
