"""An image that takes for ever, or that kills its decoder, costs itself alone."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.img2dataset import process
from pipelines.img2dataset.failures import classify_failure

PROGRAM = """
import os, sys
sys.path.insert(0, {folder!r})
import decoder

class Resizer:
    def __init__(self, options):
        self.quality = options["encode_quality"]

    def __call__(self, stream, boxes):
        data = stream.read()
        if data == b"slow":
            sum(iter(int, 1))
        if data == b"crash":
            os.kill(os.getpid(), 11)
        if data == b"no image":
            return None, None, None, None, None, "Image decoding error"
        return data[::-1], len(data), len(boxes or ()), self.quality, 4, None

decoder.make_resizer = Resizer
decoder.serve(sys.stdin.buffer, os.fdopen(os.dup(1), "wb"), int(sys.argv[1]))
"""
"""The program with a resizer in the place of img2dataset's, which is not here."""


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    folder = str(Path(process.__file__).parent)
    monkeypatch.syspath_prepend(folder)  # as it is for the program
    from pipelines.img2dataset import decoding

    program = tmp_path / "decoder.py"
    program.write_text(PROGRAM.format(folder=folder))
    made = decoding.Decoder(1, {"encode_quality": 3}, program)
    yield made
    if made._process is not None:
        made._process.kill()
        made._process.communicate()


def test_a_file_that_costs_its_decoder_costs_no_other(decoder: Any) -> None:
    assert decoder.resize(b"abc", [[0.1, 0.2, 0.3, 0.4]]) == (b"cba", 3, 1, 3, 4, None)
    assert decoder.resize(b"", None) == (b"", 0, 0, 3, 4, None), "an empty file is not the image before it"
    first = decoder._process.pid
    assert decoder.resize(b"no image", None)[5] == "Image decoding error"
    assert decoder._process.pid == first
    *nothing, why = decoder.resize(b"slow", None)
    assert (nothing, why) == ([None] * 5, "took over 1 s to decode")
    assert classify_failure("failed_to_resize", why) == "slow_image"
    assert decoder.resize(b"abcd", None) == (b"dcba", 4, 0, 3, 4, None)
    assert decoder._process.pid != first
    *nothing, why = decoder.resize(b"crash", None)
    assert (nothing, why) == ([None] * 5, f"killed its decoder (exit {-signal.SIGSEGV})")
    assert classify_failure("failed_to_resize", why) == "worker_killed"
    assert decoder.resize(b"", None) == (b"", 0, 0, 3, 4, None)


def test_exif_of_an_image_whose_decoder_is_gone_is_none(decoder: Any) -> None:
    decoder.resize(b"slow", None)
    with pytest.raises(Exception, match=r"^there is no EXIF that can be read$"):
        decoder.read_exif()
