"""The real engine on pictures of known text."""

import hashlib
import logging
import random
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import rapidocr
from PIL import Image, ImageDraw, ImageFont
from pydantic import ValidationError
from rapidocr.utils.output import RapidOCROutput

from curation.engines.ocr.rapidocr_settings import RapidOcrSettings
from curation.engines.ocr.runtime.rapidocr import RapidOcr
from curation.engines.ocr.runtime.text_lines import order_lines, sort_in_reading_order
from curation.images.decode import DecodeLimits, RgbImage, decode
from curation.scores.text import count_ordered_errors
from schemas.errors import UsageError
from schemas.records.ground_truth import read_text_truth
from schemas.records.text_line import TextLine
from tests.curation.engines.support.columns import draw_columns

MODELS = Path(rapidocr.__file__).parent / "models"


@pytest.fixture(scope="module")
def engine() -> RapidOcr:
    return RapidOcr()


def drawn(*texts: tuple[int, int, str, str], size: tuple[int, int] = (500, 300)) -> RgbImage:
    """White paper with text of 36 pixels, each at x, y in a colour."""
    image = Image.new("RGB", size, "white")
    for x, y, text, colour in texts:
        ImageDraw.Draw(image).text((x, y), text, fill=colour, font=ImageFont.load_default(size=36))
    return np.asarray(image)


PAGE = drawn((20, 30, "SHARDLOOM", "black"), (300, 34, "OPEN 24h", "black"), (40, 180, "Reads Text 123", "#c80000"))
BLANK = np.full((100, 160, 3), 255, np.uint8)


def test_text_order_and_places(engine: RapidOcr) -> None:
    [lines] = engine.annotate([PAGE])
    assert [line.text for line in lines] == ["SHARDLOOM", "OPEN 24h", "Reads Text 123"]
    drawn_at = [(20, 30, 249, 75), (300, 34, 468, 79), (40, 180, 292, 225)]
    for line, place in zip(lines, drawn_at, strict=True):
        assert line.confidence > 0.99
        pixels = np.array(line.box) * (500, 300, 500, 300)
        assert np.abs(pixels - place).max() <= 12, (line.text, pixels)
        xs, ys = line.polygon[::2], line.polygon[1::2]
        assert line.box == (min(xs), min(ys), max(xs), max(ys))
        assert xs[0] < xs[1], "clockwise from the top left"
        assert ys[0] < ys[3]
        assert all(0 <= value <= 1 for value in line.polygon)


def test_no_text_is_no_line(engine: RapidOcr) -> None:
    strips = [np.zeros((h, w, 3), np.uint8) for h, w in [(1, 1), (20, 9000), (9000, 2), (31, 33)]]
    assert engine.annotate([BLANK, *strips]) == [[], [], [], [], []]
    assert engine.annotate([]) == []


def test_neighbours_and_repetition_change_nothing(engine: RapidOcr) -> None:
    small = drawn((5, 5, "EXIT", "black"), size=(110, 60))
    [page], [exit_sign] = engine.annotate([PAGE]), engine.annotate([small])
    assert engine.annotate([small, BLANK, PAGE, small]) == [exit_sign, [], page, exit_sign]
    assert RapidOcr().annotate([PAGE]) == [page]


def test_the_networks_are_given_bgr(engine: RapidOcr, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[int]] = []

    def read(image: RgbImage) -> RapidOCROutput:
        given.append(image[0, 0].tolist())
        return RapidOCROutput()

    monkeypatch.setattr(engine, "_reader", read)
    assert engine.annotate([np.full((64, 64, 3), (1, 2, 3), np.uint8)]) == [[]]
    assert given == [[3, 2, 1]]


def test_boxes_do_not_depend_on_scale(engine: RapidOcr) -> None:
    large = np.asarray(Image.fromarray(PAGE).resize((3000, 1800), Image.Resampling.LANCZOS))
    [lines], [enlarged] = engine.annotate([PAGE]), engine.annotate([large])
    assert [line.text for line in lines] == [line.text for line in enlarged]
    for line, other in zip(lines, enlarged, strict=True):
        assert np.abs(np.array(line.box) - other.box).max() < 0.02


def test_confidence_floor(engine: RapidOcr) -> None:
    noisy = np.asarray(Image.fromarray(PAGE).resize((60, 36)))
    assert all(line.confidence >= 0.5 for line in engine.annotate([noisy])[0])
    assert RapidOcr(RapidOcrSettings(min_confidence=1.0)).annotate([PAGE]) == [[]]


def test_fingerprint(engine: RapidOcr) -> None:
    mark = engine.fingerprint
    weights = (MODELS / "PP-OCRv6_det_small.onnx").read_bytes() + (MODELS / "PP-OCRv6_rec_small.onnx").read_bytes()
    assert mark.weights_sha256 == hashlib.sha256(weights).hexdigest()
    assert mark.name == "rapidocr"
    assert mark.version.startswith("3.10.")
    assert "onnxruntime 1." in mark.version
    assert mark.settings == RapidOcrSettings().model_dump(exclude={"weights"})
    assert mark.settings["reading_order"] == "columns"
    older = RapidOcr(RapidOcrSettings(reading_order="lines")).fingerprint
    assert older.settings == {"detect_side": 960, "max_enlargement": 3.0, "max_side": 2000, "min_confidence": 0.5}


def test_own_weights(engine: RapidOcr, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"^rapidocr: no \*det\*\.onnx in .*; pass weights=FOLDER with one \*det\*\.onnx and one "
    ):
        RapidOcr(RapidOcrSettings(weights=tmp_path))
    shutil.copy(MODELS / "PP-OCRv6_det_small.onnx", tmp_path / "det.onnx")
    shutil.copy(MODELS / "PP-OCRv6_det_small.onnx", tmp_path / "rec.onnx")
    with pytest.raises(UsageError, match="holds no characters"):
        RapidOcr(RapidOcrSettings(weights=tmp_path))
    shutil.copy(MODELS / "PP-OCRv6_rec_small.onnx", tmp_path / "rec.onnx")
    own = RapidOcr(RapidOcrSettings(weights=tmp_path))
    assert own.fingerprint == engine.fingerprint, "the same weights, wherever they lie"
    assert own.annotate([PAGE]) == engine.annotate([PAGE])


def strip_metadata(model: bytes) -> bytes:
    """Removes the metadata of an ONNX file: field 14 of the message, where each field has its length before it."""
    kept, place = bytearray(), 0
    while place < len(model):
        start, key, place = place, model[place], place + 1
        size, shift = 0, 0
        while True:  # a number in groups of seven bits
            size |= (model[place] & 127) << shift
            shift, place = shift + 7, place + 1
            if not model[place - 1] & 128:
                break
        place += size if key & 7 == 2 else 0
        kept += b"" if key >> 3 == 14 else model[start:place]
    return bytes(kept)


def test_characters_in_a_file_of_their_own(engine: RapidOcr, tmp_path: Path) -> None:
    """As of networks that were converted without metadata."""
    shutil.copy(MODELS / "PP-OCRv6_det_small.onnx", tmp_path / "det.onnx")
    (tmp_path / "rec.onnx").write_bytes(strip_metadata((MODELS / "PP-OCRv6_rec_small.onnx").read_bytes()))
    settings = RapidOcrSettings(weights=tmp_path)
    with pytest.raises(UsageError, match=r"rec\.onnx holds no characters, and no file beside it does; pass weights="):
        RapidOcr(settings)
    characters = engine._recogniser.postprocess_op.character[1:-1]  # without the blank and the space
    (tmp_path / "ppocrv6_dict.txt").write_text("\n".join(characters) + "\n", "utf-8")
    own = RapidOcr(settings)
    assert own.annotate([PAGE]) == engine.annotate([PAGE])
    assert own.fingerprint.weights_sha256 != engine.fingerprint.weights_sha256, "the list is one of the files"
    (tmp_path / "ppocrv6_dict.txt").write_text("\n".join(characters[:6623]) + "\n", "utf-8")
    with pytest.raises(UsageError) as error:
        RapidOcr(settings)
    assert str(error.value) == (
        f"rapidocr: {tmp_path}/ppocrv6_dict.txt has 6623 characters, and rec.onnx was trained on 18708: "
        "pass the list that belongs to it"
    )
    (tmp_path / "ppocrv6_dict.txt").write_bytes(b"\xff\n" * 18708)
    with pytest.raises(UsageError, match=r"ppocrv6_dict\.txt is not in UTF-8: pass the list that belongs to the "):
        RapidOcr(settings)


def test_lines_in_one_pass(engine: RapidOcr) -> None:
    several = RapidOcr(RapidOcrSettings(lines_per_pass=16))
    assert several.fingerprint.settings == engine.fingerprint.settings | {"lines_per_pass": 16}
    shapes: list[int] = []
    session = several._recogniser.session
    run = session.session.run
    session.session.run = lambda names, inputs: shapes.append(len(inputs["x"])) or run(names, inputs)
    [lines], [alone] = several.annotate([PAGE]), engine.annotate([PAGE])
    assert [line.text for line in lines] == [line.text for line in alone]
    assert np.allclose([line.confidence for line in lines], [line.confidence for line in alone], atol=0.01)
    several.pass_size.size = 2  # as where a GPU's memory is full
    assert [line.text for line in several.annotate([PAGE])[0]] == [line.text for line in alone]
    assert shapes == [3, 2, 1]


def test_settings_are_checked() -> None:
    for wrong in (
        {"lines_per_pass": 0},
        {"detect_side": 0},
        {"min_confidence": 2},
        {"use_cls": True},
        {"reading_order": "rows"},
    ):
        with pytest.raises(ValidationError):
            RapidOcrSettings.model_validate(wrong)


def test_quiet_and_offline(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the engine opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    RapidOcr().annotate([BLANK, PAGE])
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("RapidOCR").level >= logging.ERROR


def test_reading_order_ignores_the_order_given() -> None:
    def line(text: str, x: float, y: float, height: float = 0.1) -> TextLine:
        box = (x, y, x + 0.2, y + height)
        return TextLine(text, (box[0], box[1], box[2], box[1], box[2], box[3], box[0], box[3]), box, 0.9)

    lines = [line("a", 0.1, 0.1), line("b", 0.4, 0.13), line("c", 0.7, 0.08), line("d", 0.1, 0.3), line("e", 0.4, 0.3)]
    tall = line("tall", 0.9, 0.1, 0.8)  # a vertical line beside them draws nothing into its row
    for seed in range(20):
        shuffled = random.Random(seed).sample([*lines, tall], 6)
        assert [one.text for one in sort_in_reading_order(shuffled)] == ["a", "b", "c", "d", "e", "tall"]


@pytest.mark.parametrize("columns", [2, 3])
def test_columns_are_read_one_after_the_other(columns: int, engine: RapidOcr) -> None:
    page, texts = draw_columns(columns)
    [found] = engine.annotate([page])
    assert count_ordered_errors(texts, [line.text for line in found]).cer < 0.02
    [rows] = RapidOcr(RapidOcrSettings(reading_order="lines")).annotate([page])
    assert count_ordered_errors(texts, [line.text for line in rows]).cer > 0.4
    assert sorted(rows, key=str) == sorted(found, key=str), "only the order differs"


@pytest.mark.slow
def test_no_receipt_is_read_in_a_worse_order(engine: RapidOcr, data: Path) -> None:
    path = data / "ground_truth/ocr.jsonl"
    truths = [
        truth for truth in read_text_truth(path.read_bytes(), str(path)) if truth.complete and len(truth.texts) > 1
    ]
    assert len(truths) == 19
    for truth in truths:
        image = decode((data / truth.file).read_bytes(), DecodeLimits())
        [columns] = engine.annotate([image])
        rows = order_lines(columns, (image.shape[1], image.shape[0]), "lines")
        errors = [count_ordered_errors(truth.texts, [line.text for line in lines]) for lines in (columns, rows)]
        assert errors[0].character_errors <= errors[1].character_errors, truth.file


@pytest.mark.slow
@pytest.mark.parametrize("name", ["8071_093.3B", "8087_054.3B"])
def test_scanned_pages_of_magazines(name: str, engine: RapidOcr, data: Path) -> None:
    """From the repository tesseract-ocr/test, if they are in the sample data with their texts."""
    path = next(data.rglob(f"*{name}.tif"), None)
    if path is None:
        pytest.skip(f"no {name}.tif in the sample data")
    text = path.with_suffix(".txt").read_text("utf-8", "replace")
    [lines] = engine.annotate([decode(path.read_bytes(), DecodeLimits())])
    assert count_ordered_errors([text], [line.text for line in lines]).cer <= 0.10


def test_real_photos(engine: RapidOcr, data: Path) -> None:
    def texts(name: str) -> list[str]:
        image = decode((data / "ocr" / name).read_bytes(), DecodeLimits())
        return [line.text for line in engine.annotate([image])[0]]

    assert texts("calamari__train_010011.bin.png") == ["General Terms:"]
    assert texts("RapidOCR__empty_black.jpg") == []
    assert "我是中国人" in texts("RapidOCR__img_exif_orientation.jpg"), "read upright"
