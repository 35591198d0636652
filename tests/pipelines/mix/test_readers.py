"""Mixtures as others read them: every sample in its place, image and text, by each library's own reader."""

import io
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest
import webdataset
from datasets import Features, Value, load_dataset
from PIL import Image, ImageChops

from pipelines.mix.run import mix
from pipelines.recipes.mix import MixRecipe
from pipelines.verify.run import verify
from schemas.tar.writer import TarWriter
from tests.conftest import jpeg
from tests.pipelines.support.published import ROWS, SETS, caption, picture, take_in
from tests.pipelines.support.sets import ALONE, read_tars

PNGS = 18  # half as many again as there are JPEGs
Sample = tuple[str, bytes, str]
"""Ending, image and text."""


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(jpeg(5000 + number, 40, 40))).save(file, "PNG")
    return file.getvalue()


JPEGS_IN_ORDER: list[Sample] = [("jpg", picture(row), caption(row)) for row in range(ROWS)]
PNGS_IN_ORDER: list[Sample] = [("png", png(number), f"“square” №{number}\n<b>") for number in range(PNGS)]


@pytest.fixture(scope="module")
def sources(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two sets of captioned images, JPEG and PNG, in tars and in Parquet."""
    folder = tmp_path_factory.mktemp("sources")
    with (folder / "00000.tar").open("wb") as file:
        writer = TarWriter(file)
        for number, (ending, image, text) in enumerate(PNGS_IN_ORDER):
            writer.add(f"{number:08d}.{ending}", image)
            writer.add(f"{number:08d}.json", json.dumps({"caption": text}).encode())
        writer.close()
    store = make_shards(folder / "store", shards=1, samples=ROWS)
    take_in("cc3m", SETS["cc3m"](folder), folder / "jpegs", store, samples_per_shard=5)
    take_in("datacomp", str(folder / "00000.tar"), folder / "pngs", format="parquet")
    return {name: str(folder / name) for name in ("jpegs", "pngs")}


def mixed(sources: dict[str, str], output: Path, form: str) -> Path:
    options: dict[str, Any] = {"weights": {"jpegs": 2, "pngs": 3}, "stop": "all_exhausted", "format": form}
    options |= {"sources": sources, "samples_per_shard": 7, "run": ALONE}
    mix(MixRecipe.model_validate(options), str(output))
    assert verify(str(output)) == (5, [])
    return output


@pytest.fixture(scope="module")
def tars(sources: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed(sources, tmp_path_factory.mktemp("mixed") / "tars", "webdataset")


@pytest.fixture(scope="module")
def tables(sources: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed(sources, tmp_path_factory.mktemp("mixed") / "tables", "parquet")


@pytest.fixture(scope="module")
def expected(tars: Path) -> dict[str, Sample]:
    """By key, in order, as Python's own `tarfile` has them: every sample of both sources, once."""
    found = {}
    for key, of in read_tars(tars).items():
        ending = "jpg" if "jpg" in of else "png"
        found[key] = (ending, of[ending], of["txt"].decode())
    assert Counter(found.values()) == Counter(JPEGS_IN_ORDER + PNGS_IN_ORDER)
    assert list(found) == [f"{number // 7:08d}{number % 7:06d}" for number in range(ROWS + PNGS)]
    return found


def assert_same_picture(shown: Image.Image, file: bytes) -> None:
    original = Image.open(io.BytesIO(file))
    assert (shown.size, shown.mode) == (original.size, original.mode)
    assert ImageChops.difference(shown, original).getbbox() is None


def test_webdataset_reads_tars(tars: Path, expected: dict[str, Sample]) -> None:
    urls = [str(path) for path in sorted((tars / "data").iterdir())]
    read = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil"))
    assert [sample["__key__"] for sample in read] == list(expected)
    for sample, (ending, image, text) in zip(read, expected.values(), strict=True):
        assert sample["txt"] == text
        assert_same_picture(sample[ending], image)
        assert (sample["json"]["width"], sample["json"]["height"]) == sample[ending].size
    raw = webdataset.WebDataset(urls, shardshuffle=False)
    assert [(sample.get("jpg") or sample["png"]) for sample in raw] == [image for _, image, _ in expected.values()]


def test_datasets_reads_tars(tars: Path, expected: dict[str, Sample], tmp_path: Path) -> None:
    """It takes what the first samples have for all that there is, so it is told of both kinds of images."""
    text = Value("string")
    features = Features({"__key__": text, "jpg": datasets.Image(), "png": datasets.Image(), "txt": text})
    loaded = load_dataset(
        "webdataset",
        data_files=f"{tars}/data/*.tar",
        split="train",
        features=features,
        cache_dir=str(tmp_path / "cache"),
    )
    assert loaded["__key__"] == list(expected)
    assert loaded["txt"] == [text for _, _, text in expected.values()]
    for row, (ending, image, _) in zip(loaded, expected.values(), strict=True):
        assert_same_picture(row[ending], image)
        assert row["jpg" if ending == "png" else "png"] is None


def test_datasets_and_polars_read_tables(tables: Path, expected: dict[str, Sample], tmp_path: Path) -> None:
    files = f"{tables}/data/*.parquet"
    frame = pl.read_parquet(files)
    assert frame["key"].to_list() == list(expected)
    assert frame["text"].to_list() == [text for _, _, text in expected.values()]
    assert frame["image"].struct.field("bytes").to_list() == [image for _, image, _ in expected.values()]
    loaded = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["key"] == list(expected)
    assert loaded["text"] == frame["text"].to_list()
    for row, (_, image, _) in zip(loaded, expected.values(), strict=True):
        assert_same_picture(row["image"], image)


LOAD = """
import json, sys
from megatron.energon import WorkerConfig, get_loader, get_train_dataset

dataset = get_train_dataset(
    sys.argv[1], batch_size=1, shuffle_buffer_size=None, max_samples_per_sequence=None, repeat=False,
    worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0),
)
found = {}
for batch in get_loader(dataset):
    pixels = (batch.image[0].permute(1, 2, 0) * 255).round().int()
    found[batch.__key__[0].rpartition("/")[2]] = [batch.caption[0], pixels.tolist()]
print(json.dumps(found))
"""


@pytest.mark.skipif(shutil.which("energon") is None, reason="no megatron-energon on the PATH")
def test_energon_reads_tars(tars: Path, expected: dict[str, Sample], tmp_path: Path) -> None:
    """Prepared in a folder of links: Energon puts its own files beside the tars."""
    energon = shutil.which("energon")
    assert energon is not None
    for path in (tars / "data").iterdir():
        (tmp_path / path.name).symlink_to(path)
    fields = json.dumps({"image": "jpg,png", "caption": "txt"})
    prepare = ["prepare", "--non-interactive", "--split-parts", "train:.*", "--sample-type", "CaptioningSample"]
    subprocess.run([energon, *prepare, "--field-map", fields, tmp_path], check=True, capture_output=True, timeout=120)
    python = os.path.join(os.path.dirname(energon), "python")  # noqa: PTH118, PTH120 - its own, not what it links to
    loaded = subprocess.run([python, "-c", LOAD, tmp_path], check=True, capture_output=True, text=True, timeout=120)
    found = json.loads(loaded.stdout)
    assert {key: text for key, (text, _) in found.items()} == {key: text for key, (_, _, text) in expected.items()}
    for key, (_, image, _) in expected.items():
        shown = Image.open(io.BytesIO(image)).convert("RGB")
        assert [tuple(pixel) for line in found[key][1] for pixel in line] == list(shown.get_flattened_data())
    assert verify(str(tars)) == (5, [])
