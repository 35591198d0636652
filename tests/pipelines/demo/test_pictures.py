"""The pictures of the demo: the same each time, true to what is said of them, and legible to the real OCR engine."""

import io
from itertools import combinations

import numpy as np
import pytest
from PIL import Image
from rapidfuzz.distance import Levenshtein
from rapidocr import RapidOCR

from pipelines.demo.layouts import LAYOUTS
from pipelines.demo.pictures import SCENE, Picture, draw_picture
from pipelines.demo.sheet import load_font

TEXTLESS = {"scenery", "shapes", SCENE}


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return [draw_picture(7, index) for index in range(150)]


def test_same_seed_and_index_give_the_same_bytes(pictures: list[Picture]) -> None:
    assert draw_picture(7, 31) == pictures[31]
    assert len({picture.jpeg for picture in pictures}) == len(pictures)
    assert draw_picture(8, 31).jpeg != pictures[31].jpeg


def test_every_kind_occurs_and_only_the_textless_ones_have_no_lines(pictures: list[Picture]) -> None:
    assert {picture.kind for picture in pictures} == {*LAYOUTS, SCENE}
    for picture in pictures:
        assert bool(picture.lines) != (picture.kind in TEXTLESS)


def test_one_in_four_is_a_scene_whose_things_its_alt_text_names(pictures: list[Picture]) -> None:
    assert [index for index, picture in enumerate(pictures) if picture.kind == SCENE] == list(range(1, 150, 4))
    for picture in pictures:
        assert bool(picture.objects) == (picture.kind == SCENE)
        for label, (x1, y1, x2, y2) in picture.objects:
            assert label in picture.caption
            assert 0 <= x1 < x2 <= 1
            assert 0 <= y1 < y2 <= 1


def test_sizes_are_in_range_and_are_those_of_the_jpeg(pictures: list[Picture]) -> None:
    for picture in pictures:
        image = Image.open(io.BytesIO(picture.jpeg))
        image.load()
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (picture.width, picture.height))
        assert 256 <= max(image.size) <= 800


def test_every_line_lies_inside_and_clear_of_the_others(pictures: list[Picture]) -> None:
    for picture in pictures:
        for line in picture.lines:
            x1, y1, x2, y2 = line.box
            assert 0 < x1 < x2 < 1
            assert 0 < y1 < y2 < 1
            assert (min(line.polygon[::2]), min(line.polygon[1::2])) == (x1, y1)
            assert (max(line.polygon[::2]), max(line.polygon[1::2])) == (x2, y2)
        for (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) in combinations([line.box for line in picture.lines], 2):
            # Turned lines may share a sliver of their upright boxes; their middles never do.
            middle_x, middle_y = (bx1 + bx2) / 2, (by1 + by2) / 2
            assert not (ax1 < middle_x < ax2 and ay1 < middle_y < ay2)


def test_receipts_and_memes_are_whole(pictures: list[Picture]) -> None:
    for picture in pictures:
        texts = [line.text for line in picture.lines]
        if picture.kind == "receipt":
            prices = [float(text) for text in texts if text.replace(".", "", 1).isdigit()]
            assert f"${sum(prices):.2f}" in texts
            assert len(texts) == 3 + 2 * len(prices) + 3
        if picture.kind == "meme":
            assert len(texts) == 2


def test_the_font_has_every_character_written(pictures: list[Picture]) -> None:
    missing = bytes(load_font(30).getmask("\uffff"))
    for character in {character for picture in pictures for line in picture.lines for character in line.text}:
        assert character == " " or bytes(load_font(30).getmask(character)) != missing


def test_captions_are_as_the_web_has_them(pictures: list[Picture]) -> None:
    captions = [picture.caption for picture in pictures]
    assert "" in captions
    assert any("<b>" in caption for caption in captions)
    assert any('"' in caption for caption in captions)
    assert any(not caption.isascii() and not caption.startswith("“") for caption in captions)


def test_the_real_engine_reads_them_with_under_five_percent_of_errors(pictures: list[Picture]) -> None:
    threads = {f"EngineConfig.onnxruntime.{pool}_op_num_threads": 1 for pool in ("intra", "inter")}
    engine = RapidOCR(params={"Global.use_cls": False, **threads})
    sample = [picture for picture in pictures if picture.lines][:14]
    assert len({picture.kind for picture in sample}) >= 4
    errors = sum(misread(engine, picture) for picture in sample)
    assert errors / sum(len(line.text) for picture in sample for line in picture.lines) < 0.05


def misread(engine: RapidOCR, picture: Picture) -> int:
    """Characters wrong, missing or too many; a line read belongs to the true line that its middle lies in."""
    pixels = np.asarray(Image.open(io.BytesIO(picture.jpeg)))
    seen = engine(pixels[:, :, ::-1])  # it takes BGR
    read: dict[int, list[tuple[float, str]]] = {number: [] for number in range(len(picture.lines))}
    stray = 0
    for quad, text in zip(seen.boxes, seen.txts, strict=True):
        x, y = quad[:, 0].mean() / picture.width, quad[:, 1].mean() / picture.height
        boxes = [line.box for line in picture.lines]
        owner = next((n for n, (x1, y1, x2, y2) in enumerate(boxes) if x1 <= x <= x2 and y1 <= y <= y2), None)
        if owner is None:
            stray += len(text)
        else:
            read[owner].append((x, text))
    joined = [" ".join(text for _, text in sorted(read[number])) for number in read]
    return stray + sum(Levenshtein.distance(line.text, text) for line, text in zip(picture.lines, joined, strict=True))
