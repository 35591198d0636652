"""The crop of a line of text is the strip that its engine has read; of anything else, the rectangle around it."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation.engines.ocr.runtime.line_crops import cut_line
from curation.images.decode import DecodeLimits, decode
from pipelines.explain.crop import cut_crop, write_crop
from pipelines.explain.detections import measure_pixels
from pipelines.explain.origin import Detection, Explanation, SpanOrigin
from schemas.errors import ShardloomError, UsageError
from schemas.records.fingerprint import EngineFingerprint

SIZE = (323, 217)
OUTLINE = (0.1, 0.35, 0.65, 0.15, 0.68, 0.3, 0.12, 0.5)
PIXELS = (32, 32, 220, 109)


def make_engine(**settings: int | str) -> EngineFingerprint:
    return EngineFingerprint(name="e", version="1", weights_sha256="", settings=settings)


def detect(column: str = "ocr") -> Detection:
    assert measure_pixels(OUTLINE, SIZE) == PIXELS
    return Detection(column, 0, "x", 0.5, column, OUTLINE, PIXELS)


@pytest.fixture(scope="module")
def image() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("settings", "max_side"),
    [({}, 10_000), ({"max_side": 2000}, 2000), ({"max_side": 100}, 100), ({"max_side": "2"}, 10_000)],
)
def test_a_line_is_the_strip_that_its_engine_read(image: bytes, settings: dict[str, int | str], max_side: int) -> None:
    found = np.asarray(cut_crop(image, detect(), make_engine(**settings)))
    assert np.array_equal(found, cut_line(decode(image, DecodeLimits()), OUTLINE, max_side))
    assert found.shape[1] < PIXELS[2] - PIXELS[0], "no corner of the rectangle"


@pytest.mark.parametrize(("column", "engine"), [("boxes", make_engine()), ("ocr", None)])
def test_anything_else_is_a_rectangle(image: bytes, column: str, engine: EngineFingerprint | None) -> None:
    found = np.asarray(cut_crop(image, detect(column), engine))
    assert np.array_equal(found, decode(image, DecodeLimits())[PIXELS[1] : PIXELS[3], PIXELS[0] : PIXELS[2]])


def test_the_library_that_straightens_lines_is_missing(image: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.extras.find_spec", lambda name: None if name == "cv2" else name)
    with pytest.raises(UsageError, match=r"^--crop of a line of text needs cv2: pip install 'shardloom\[ocr\]'$"):
        cut_crop(image, detect(), make_engine())
    assert cut_crop(image, detect("boxes"), make_engine()).size == (188, 77)


def explain_spans(image: bytes | None, *places: Detection) -> Explanation:
    spans = [SpanOrigin(0, 0, 1, "x", (place,)) for place in places]
    return Explanation("set", "key", spans=spans, engines={"ocr": make_engine()}, image=image)


def test_one_place_is_written(image: bytes, tmp_path: Path) -> None:
    tag = Detection("tags", 0, "x", 0.5, "tags")
    path = f"{tmp_path}/crop.png"
    write_crop(explain_spans(image, tag, detect(), detect()), path)
    with Image.open(path) as crop:
        assert np.array_equal(np.asarray(crop), np.asarray(cut_crop(image, detect(), make_engine())))
    other = Detection("ocr", 1, "x", 0.5, "ocr", OUTLINE, PIXELS)
    for found, fault in (
        (explain_spans(image, detect(), other), "2 places"),
        (explain_spans(image, tag), "no place"),
    ):
        with pytest.raises(UsageError, match=f"^--crop: the spans have {fault} in the image: choose one"):
            write_crop(found, path)
    with pytest.raises(UsageError, match=r"^--crop: key is not a sample of one image$"):
        write_crop(explain_spans(None, detect()), path)
    with pytest.raises(ShardloomError, match=r"^key: its image cannot be decoded: not_an_image: "):
        write_crop(explain_spans(b"none", detect()), path)
