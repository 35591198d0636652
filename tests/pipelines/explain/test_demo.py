"""On pictures of the demo: the part of a picture that a span came from, read again by the engine, has its text."""

import hashlib
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rapidfuzz.distance import Levenshtein

from curation.engines.ocr.rapidocr_settings import RapidOcrSettings
from curation.engines.ocr.runtime.rapidocr import RapidOcr
from pipelines.annotate.run import annotate
from pipelines.demo.flow import write_pictures
from pipelines.explain import explain
from pipelines.explain.crop import cut_crop
from pipelines.mix.run import mix
from pipelines.recipes.annotate import AnnotateRecipe, AnnotateRun, EngineOptions
from pipelines.recipes.mix import MixRecipe
from tests.pipelines.support.sets import ALONE, caption_set, join, rows

PICTURES = 20

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of set, of pictures of the demo and what the real engine reads in them."""
    folder = tmp_path_factory.mktemp("demo")
    write_pictures(f"{folder}/images", PICTURES + 16)
    images = f"{folder}/images/*.tar"
    ocr = {"ocr": EngineOptions(engine="rapidocr")}
    annotate(AnnotateRecipe(input=[images], engines=ocr, run=AnnotateRun(workers=2)), f"{folder}/annotations")
    caption_set(folder / "annotations", folder / "captions")
    join(images, folder / "captions", folder / "training", samples_per_shard=6)
    join(images, folder / "captions", folder / "referring", by_reference=True)
    for name in ("training", "referring"):
        recipe = MixRecipe(sources={"ocr": [f"{folder}/{name}"]}, weights={"ocr": 1}, samples_per_shard=5, run=ALONE)
        mix(recipe, f"{folder}/mixed-{name}")
    return folder


def frame(crop: Image.Image) -> np.ndarray:
    """The crop on a plain ground: the detector of an engine finds no line that fills its picture."""
    pixels = np.asarray(crop)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    around = max(16, crop.height // 2)
    ground = Image.new(
        "RGB", (crop.width + 2 * around, crop.height + 2 * around), tuple(np.median(edge, 0).astype(int))
    )
    ground.paste(crop, (around, around))
    return np.asarray(ground)


def read_again(engine: RapidOcr, recogniser: RapidOcr, crop: Image.Image) -> list[str]:
    """What the whole engine reads on a plain ground, and its recogniser alone on the bare crop.

    The recogniser has the last word on strokes of a drawing that it took for a letter, which the detector finds again
    only among their surroundings.
    """
    (lines,) = engine.annotate([frame(crop)])
    bare = recogniser._reader(np.asarray(crop)[:, :, ::-1], use_det=False, use_cls=False, use_rec=True)
    return [" ".join(one.text for one in lines), "".join(bare.txts or ())]


def normalise(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split())


@pytest.mark.parametrize("name", ["captions", "training", "referring", "mixed-training", "mixed-referring"])
def test_the_crop_of_every_span_has_its_text(demo: Path, name: str) -> None:
    engine, recogniser = RapidOcr(RapidOcrSettings()), RapidOcr(RapidOcrSettings())
    keys = [row["key"] for row in rows(demo / name, "data" if name == "captions" else "index")][:PICTURES]
    assert len(keys) == PICTURES
    read: dict[tuple[str, object], list[str]] = {}
    worst: list[tuple[float, str, str, str]] = []
    spans = 0
    for key in keys:
        found = explain(f"{demo}/{name}", key)
        assert found.image is not None
        assert {len(span.detections) for span in found.spans} == {1}
        for step in found.steps:
            if step.image is not None:
                assert step.image.offset is not None
                data = Path(step.image.file).read_bytes()[step.image.offset :][: step.image.size]
                assert (data, hashlib.sha256(data).hexdigest()) == (found.image, step.image.sha256)
        for span in found.spans:
            spans += 1
            (line,) = span.detections
            assert line.pixels is not None
            place = (key, line.pixels)
            if place not in read:
                read[place] = read_again(engine, recogniser, cut_crop(found.image, line.pixels))
            wanted = normalise(line.text)
            alike = max(Levenshtein.normalized_similarity(wanted, normalise(one)) for one in read[place])
            worst.append((alike, key, line.text, " | ".join(read[place])))
            assert line.text in span.text or line.text.replace('"', '\\"') in span.text
    assert spans > 10 * PICTURES
    failed = sorted({one for one in worst if one[0] < 0.9})
    assert not failed, failed[:20]
