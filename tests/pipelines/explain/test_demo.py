"""On pictures of the demo: the crop of a span is what the recogniser has read, so it reads the same text in it again.

That is a stronger claim than that some engine finds the text there. A whole engine, which looks for lines before it
reads them, finds none in a line that is cut out alone; and the rectangle around a line is not what was read of it.
"""

import hashlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from rapidocr.ch_ppocr_rec import TextRecInput

from curation.engines.ocr.rapidocr_settings import RapidOcrSettings
from curation.engines.ocr.runtime.rapidocr import RapidOcr
from pipelines.annotate.run import annotate
from pipelines.demo.flow import write_pictures
from pipelines.explain import explain
from pipelines.explain.crop import write_crop
from pipelines.explain.origin import Detection, Explanation, SpanOrigin
from pipelines.mix.run import mix
from pipelines.recipes.annotate import AnnotateRecipe, AnnotateRun, EngineOptions
from pipelines.recipes.mix import MixRecipe
from tests.conftest import write_shard
from tests.pipelines.support.sets import ALONE, caption_set, join, rows

PICTURES = 20
PRINTED = re.compile(r"<bbox>(.+?)</bbox>")  # the place of a line in captions of granularity 5

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of set, of pictures of the demo and what the real engine reads in them."""
    folder = tmp_path_factory.mktemp("demo")
    write_pictures(f"{folder}/images", PICTURES + 16)
    images = f"{folder}/images/*.tar"
    read_pictures(images, folder / "annotations")
    caption_set(folder / "annotations", folder / "captions")
    join(images, folder / "captions", folder / "training", samples_per_shard=6)
    join(images, folder / "captions", folder / "referring", by_reference=True)
    for name in ("training", "referring"):
        recipe = MixRecipe(sources={"ocr": [f"{folder}/{name}"]}, weights={"ocr": 1}, samples_per_shard=5, run=ALONE)
        mix(recipe, f"{folder}/mixed-{name}")
    return folder


def read_pictures(images: str, output: Path) -> None:
    ocr = {"ocr": EngineOptions(engine="rapidocr")}
    annotate(AnnotateRecipe(input=[images], engines=ocr, run=AnnotateRun(workers=2)), str(output))


@pytest.fixture(scope="module")
def engine() -> RapidOcr:
    return RapidOcr(RapidOcrSettings())


def read_again(engine: RapidOcr, found: Explanation, span: SpanOrigin, path: Path) -> tuple[str, float]:
    """What the engine's recogniser reads in the file that `--crop` writes, and how sure it is."""
    write_crop(replace(found, spans=[span]), str(path))
    with Image.open(path) as crop:
        pixels = np.asarray(crop)
    read = engine._recogniser(TextRecInput(img=[np.ascontiguousarray(pixels[:, :, ::-1])]))
    return read.txts[0].strip(), float(np.float32(read.scores[0]))


def check_place(span: SpanOrigin, line: Detection) -> None:
    """Where a caption prints a place, it is that of the line, also of several lines with the same text."""
    if (printed := PRINTED.search(span.text)) is not None:
        box = [float(number) for number in re.findall(r"[\d.]+", printed[1])]
        sides = (min(line.outline[::2]), min(line.outline[1::2]), max(line.outline[::2]), max(line.outline[1::2]))
        assert box == pytest.approx(sides, abs=0.0006)


@pytest.mark.parametrize("name", ["captions", "training", "referring", "mixed-training", "mixed-referring"])
def test_every_span_is_read_again_as_it_was(demo: Path, engine: RapidOcr, name: str, tmp_path: Path) -> None:
    keys = [row["key"] for row in rows(demo / name, "data" if name == "captions" else "index")][:PICTURES]
    assert len(keys) == PICTURES
    read: dict[tuple[str, Detection], tuple[str, float]] = {}
    spans = places = 0
    for key in keys:
        found = explain(f"{demo}/{name}", key)
        assert found.image is not None
        for step in found.steps:
            if step.image is not None:
                assert step.image.offset is not None
                data = Path(step.image.file).read_bytes()[step.image.offset :][: step.image.size]
                assert (data, hashlib.sha256(data).hexdigest()) == (found.image, step.image.sha256)
        for span in found.spans:
            (line,) = span.detections
            assert line.number is not None
            if (key, line) not in read:
                read[key, line] = read_again(engine, found, span, tmp_path / "crop.png")
            assert read[key, line] == (line.text, pytest.approx(line.score, abs=1e-6))
            assert line.text in span.text or json.dumps(line.text, ensure_ascii=False)[1:-1] in span.text
            check_place(span, line)
            places += PRINTED.search(span.text) is not None
        spans += len(found.spans)
    assert spans > 10 * PICTURES
    assert places > PICTURES


def write(text: str, size: tuple[int, int]) -> Image.Image:
    sheet = Image.new("RGB", size, "white")
    ImageDraw.Draw(sheet).text((size[0] // 10, size[1] // 4), text, "black", ImageFont.load_default(size[1] // 5))
    return sheet


def encode(picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95, **options)
    return file.getvalue()


def test_pictures_that_an_engine_turns_straightens_or_shrinks(engine: RapidOcr, tmp_path: Path) -> None:
    sideways = Image.Exif()
    sideways[0x0112] = 6
    pictures = [
        encode(write("TILTED LINE", (600, 300)).rotate(12, expand=True, fillcolor="white")),
        encode(write("DOWNWARDS", (600, 150)).transpose(Image.Transpose.ROTATE_270)),
        encode(write("OF A CAMERA", (600, 300)).transpose(Image.Transpose.ROTATE_90), exif=sideways.tobytes()),
        encode(write("LARGE PAPER", (3100, 1700)).rotate(-7, fillcolor="white")),
    ]
    (tmp_path / "images").mkdir()
    write_shard(tmp_path / "images/0.tar", pictures)
    read_pictures(f"{tmp_path}/images/*.tar", tmp_path / "annotations")
    for number, text in enumerate(["TILTED LINE", "DOWNWARDS", "OF A CAMERA", "LARGE PAPER"]):
        found = explain(f"{tmp_path}/annotations", f"{number:012d}")
        lines = {span.detections[0] for span in found.spans}
        assert text.replace(" ", "") in {line.text.replace(" ", "") for line in lines}
        for line in lines:
            again = read_again(engine, found, SpanOrigin(0, 0, 1, "", (line,)), tmp_path / "crop.png")
            assert again == (line.text, pytest.approx(line.score, abs=1e-6))
