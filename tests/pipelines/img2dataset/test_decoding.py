"""An image that takes for ever, or that kills its decoder, costs itself alone."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.img2dataset import process
from pipelines.img2dataset.failures import kind_of

DOES = """lambda stream, boxes: (lambda data: (
    sum(iter(int, 1)) if data == b"slow" else
    __import__("os").kill(__import__("os").getpid(), 11) if data == b"crash" else
    (None, None, None, None, None, "Image decoding error") if data == b"no image" else
    (data[::-1], len(data), len(boxes or ()), 3, 4, None)
))(stream.read())"""


class Resizer:
    """In the place of img2dataset's, which is not here. Pickled, it is the function above."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (DOES,)


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(Path(process.__file__).parent))  # as it is for the program
    from pipelines.img2dataset.decoding import Decoder

    made = Decoder(1)
    yield made
    if made._process is not None:
        made._process.kill()
        made._process.communicate()


def test_a_file_that_costs_its_decoder_costs_no_other(decoder: Any) -> None:
    ask = Resizer()
    assert decoder.resize(ask, b"abc", [[0.1, 0.2, 0.3, 0.4]]) == (b"cba", 3, 1, 3, 4, None)
    assert decoder.resize(ask, b"", None) == (b"", 0, 0, 3, 4, None), "an empty file is not the image before it"
    first = decoder._process.pid
    assert decoder.resize(ask, b"no image", None)[5] == "Image decoding error"
    assert decoder._process.pid == first
    *nothing, why = decoder.resize(ask, b"slow", None)
    assert (nothing, why) == ([None] * 5, "took over 1 s to decode")
    assert kind_of("failed_to_resize", why) == "slow_image"
    assert decoder.resize(ask, b"abcd", None) == (b"dcba", 4, 0, 3, 4, None)
    assert decoder._process.pid != first
    *nothing, why = decoder.resize(ask, b"crash", None)
    assert (nothing, why) == ([None] * 5, f"killed its decoder (exit {-signal.SIGSEGV})")
    assert kind_of("failed_to_resize", why) == "worker_killed"
    assert decoder.resize(ask, b"", None) == (b"", 0, 0, 3, 4, None)


def test_exif_of_an_image_whose_decoder_is_gone_is_none(decoder: Any) -> None:
    decoder.resize(Resizer(), b"slow", None)
    with pytest.raises(Exception, match=r"^there is no EXIF that can be read$"):
        decoder.exif()
