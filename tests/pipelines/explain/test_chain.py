"""From a caption back to the bytes of its image, through every kind of set: each place that is named has the bytes."""

import hashlib
from pathlib import Path

import pytest

from pipelines.explain import explain
from pipelines.explain.origin import Explanation, ImageBytes
from pipelines.mix.run import mix
from pipelines.recipes.mix import MixRecipe
from tests.conftest import REPOSITORY, jpeg, write_shard
from tests.pipelines.support.sets import ALONE, annotation_set, caption_set, join, rows

KEY = "000000000004"  # has lines "000000000004 1" and "000000000004 2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Image shards, annotations, captions, three training sets, and mixtures of them."""
    folder = tmp_path_factory.mktemp("explain")
    (folder / "images").mkdir()
    write_shard(folder / "images/00000000.tar", [jpeg(number) for number in range(3)])
    write_shard(folder / "images/00000001.tar", [jpeg(number) for number in range(3, 8)], first=3)
    images = f"{folder}/images/*.tar"
    caption_set(annotation_set(images, folder / "annotations"), folder / "captions")
    join(images, folder / "captions", folder / "training", samples_per_shard=2)
    join(images, folder / "captions", folder / "parquet", format="parquet")
    join(images, folder / "captions", folder / "referring", by_reference=True)
    for name in ("training", "parquet", "referring"):
        sources = {"ocr": [f"{folder}/{name}"], "again": [f"{folder}/training"]}
        recipe = MixRecipe(sources=sources, weights={"ocr": 2, "again": 1}, samples_per_shard=3, run=ALONE)
        mix(recipe, f"{folder}/mixed-{name}")
    return folder


def read_bytes(image: ImageBytes) -> bytes:
    assert image.offset is not None
    return Path(image.file).read_bytes()[image.offset : image.offset + image.size]


def list_commands(found: Explanation) -> list[str]:
    return [step.command for step in found.steps]


def check_source(found: Explanation, folder: Path) -> None:
    """The last step is the member of the image shard, and it has these bytes."""
    image = found.steps[-1].image
    assert image is not None
    assert (image.file, image.member) == (f"{folder}/images/00000001.tar", f"{KEY}.jpg")
    assert (read_bytes(image), image.sha256) == (jpeg(4), hashlib.sha256(jpeg(4)).hexdigest())
    assert found.image == jpeg(4)
    assert dict(found.steps[-1].facts)["url"] == f"https://example.org/{KEY}.jpg"


def check_lines(found: Explanation) -> None:
    """Each line has a span in every rendered caption, tied to the line that the engine has found."""
    lines = [caption for caption in found.captions if caption.text]
    assert len(lines) == 12
    assert len(found.spans) == 24
    for span in found.spans:
        assert found.captions[span.caption].text[span.start : span.end] == span.text
        (line,) = span.detections
        assert line.text in span.text
        assert (line.column, line.stage, line.pixels) == ("ocr", "ocr", (16, 12, 48, 36))
        assert line.text == f"{KEY} {line.number + 1}" if line.number is not None else ""
        assert line.score == (line.number + 1) / 4 if line.number is not None else None
    assert [span.number for span in found.spans] == list(range(24))
    assert found.engines["ocr"].name == "pixel"


def test_a_caption_set(folder: Path) -> None:
    found = explain(f"{folder}/captions", KEY)
    assert list_commands(found) == ["render", "annotate", "source"]
    assert [step.row for step in found.steps[:2]] == ["data/00000001.parquet, row 1", "data/00000001.parquet, row 1"]
    check_lines(found)
    check_source(found, folder)


def test_an_annotation_set(folder: Path) -> None:
    found = explain(f"{folder}/annotations", f"00000001/{KEY}")
    assert list_commands(found) == ["annotate", "source"]
    assert {caption.name for caption in found.captions if "alt text" in caption.name} == {
        f"render ocr: granularity {number} with the alt text" for number in range(6)
    }
    check_lines(found)
    check_source(found, folder)


@pytest.mark.parametrize("name", ["training", "parquet", "referring"])
def test_training_shards(folder: Path, name: str) -> None:
    key = find_training_key(folder / name)
    found = explain(f"{folder}/{name}", key)
    assert list_commands(found) == ["shard", "render", "annotate", "source"]
    check_lines(found)
    check_source(found, folder)
    assert [caption.name for caption in found.captions if caption.is_trained_on] == ["granularity 0"]
    own = found.steps[0].image
    assert own is not None
    assert own.sha256 == hashlib.sha256(jpeg(4)).hexdigest()
    if name == "parquet":
        assert (own.file, own.offset) == (f"{folder}/parquet/data/00000000.parquet", None)
    else:
        assert read_bytes(own) == jpeg(4)
        assert own.file.startswith(f"{folder}/{'images' if name == 'referring' else 'training/data'}/")


@pytest.mark.parametrize("name", ["training", "parquet", "referring"])
def test_every_sample_of_a_mixture(folder: Path, name: str) -> None:
    mixed = folder / f"mixed-{name}"
    drawn = set()
    for key in list_keys(mixed):
        found = explain(str(mixed), key)
        assert list_commands(found) == ["mix", "shard", "render", "annotate", "source"]
        first, *others = (step.image for step in found.steps if step.image is not None)
        assert {image.sha256 for image in others} == {first.sha256}
        facts = dict(found.steps[0].facts)
        assert facts["source"] == facts["drawn from"]
        assert all(line.text in span.text for span in found.spans for line in span.detections)
        drawn.add((facts["drawn from"], found.steps[-1].row))
        if found.steps[-1].row == f"sample {KEY}":
            check_lines(found)
            check_source(found, folder)
    assert {source for source, _ in drawn} == {"ocr", "again"}


def test_a_published_caption_set(folder: Path, tmp_path: Path) -> None:
    published = tmp_path / "published"
    published.mkdir()
    for path in (folder / "captions/data").iterdir():
        (published / path.name).write_bytes(path.read_bytes())
    join(f"{folder}/images/*.tar", published, tmp_path / "training")
    found = explain(f"{tmp_path}/training", find_training_key(tmp_path / "training"))
    assert list_commands(found) == ["shard", "captions", "source"]
    assert len(found.spans) == 24
    assert {(line.number, line.stage) for span in found.spans for line in span.detections} == {(None, "")}
    assert found.engines == {}
    check_source(found, folder)
    assert found.notes == [f"{published} is a published set, which does not say what found its lines and boxes"]


OLD_SETS = {
    "annotations": ["annotate", "source"],
    "captions": ["render", "annotate", "source"],
    "training": ["shard", "render", "annotate", "source"],
    "mixture": ["mix", "shard", "render", "annotate", "source"],
    "plain": ["ingest", "source"],
}


@pytest.mark.parametrize("name", OLD_SETS)
def test_sets_in_older_formats(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their recipes name other sets from the folder that they were made in."""
    monkeypatch.chdir(REPOSITORY / "tests/support/old_sets")
    key = list_keys(Path(name))[0] if Path(name, "index").exists() else list_row_keys(Path(name))[0]
    found = explain(name, key)
    if name != "mixture" or list_commands(found)[1] == "shard":
        assert list_commands(found) == OLD_SETS[name]
    image = found.steps[-1].image
    assert image is not None
    assert hashlib.sha256(read_bytes(image)).hexdigest() == image.sha256


def list_keys(folder: Path) -> list[str]:
    return [row["key"] for row in rows(folder, "index")]


def list_row_keys(folder: Path) -> list[str]:
    return [row["key"] for row in rows(folder)]


def find_training_key(folder: Path) -> str:
    """The key of the sample whose image is that of `KEY`."""
    sha256 = hashlib.sha256(jpeg(4)).hexdigest()
    (key,) = [row["key"] for row in rows(folder, "index") if row["image_details"][0]["sha256"] == sha256]
    assert isinstance(key, str)
    return key
