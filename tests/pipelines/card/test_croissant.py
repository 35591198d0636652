"""Sets are described in Croissant: its validator takes them, and its loader yields our rows, of every kind of set."""

import hashlib
import io
import itertools
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.card.run import refresh_card
from pipelines.download import part as download_part
from pipelines.download.run import download
from pipelines.mix.run import mix
from pipelines.recipes.download import DownloadRecipe, DownloadRun
from pipelines.recipes.mix import MixRecipe
from pipelines.recipes.select import SelectRecipe, SelectRun
from pipelines.select.run import select
from pipelines.verify.run import verify
from schemas.output_set.features import IMAGE
from schemas.records.box import Detection
from schemas.records.tag import Tag
from tests.pipelines.support.metadata import StandIn, write_metadata
from tests.pipelines.support.published import ROWS, SETS, take_in
from tests.pipelines.support.sets import annotation_set, caption_set, grounding_caption_set, grounding_set, join

mlcroissant = pytest.importorskip("mlcroissant")

VALIDATE = "import sys; from mlcroissant.scripts.cli import main; sys.argv[0] = 'mlcroissant'; main()"
TEN = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sets")


@pytest.fixture(scope="module")
def images(make_shards: Callable[..., str], folder: Path) -> str:
    return make_shards(folder / "images", shards=2, samples=ROWS)


def make_boxes(key: str) -> list[Detection] | None:
    return None if key.endswith("4") else [Detection("dog", "a dog", (0.25, 0.25, 0.5, 0.5), 0.5)] * (int(key) % 3)


def make_tags(key: str) -> list[Tag]:
    return [Tag("dog", 1.0, "caption", 0, 3), Tag("cat", 0.75, "image", None, None)][: int(key) % 3]


def make_annotations(folder: Path, images: str) -> Path:
    return annotation_set(images, folder / "annotations")


def make_grounding(folder: Path, images: str) -> Path:
    return grounding_set(images, folder / "grounding", make_boxes, make_tags)


def make_captions(folder: Path, images: str) -> Path:
    return caption_set(make_annotations(folder / "for-captions", images), folder / "captions")


def make_grounding_captions(folder: Path, images: str) -> Path:
    return grounding_caption_set(make_grounding(folder / "for-grounding", images), folder / "grounding-captions")


def make_tars(folder: Path, images: str) -> Path:
    join(images, make_captions(folder / "for-tars", images), folder / "tars")
    return folder / "tars"


def make_parquet(folder: Path, images: str) -> Path:
    join(images, make_captions(folder / "for-parquet", images), folder / "parquet", format="parquet")
    return folder / "parquet"


def make_references(folder: Path, images: str) -> Path:
    join(images, make_captions(folder / "for-references", images), folder / "references", by_reference=True)
    return folder / "references"


def make_documents(folder: Path, images: str) -> Path:
    take_in("obelics", SETS["obelics"](folder), folder / "documents", images, format="parquet")
    return folder / "documents"


def make_document_tars(folder: Path, images: str) -> Path:
    take_in("mint-pdf", SETS["mint-pdf"](folder), folder / "document-tars", images)
    return folder / "document-tars"


def make_mixture(folder: Path, images: str) -> Path:
    sources = {"tars": str(make_tars(folder / "for-mixture", images))}
    options: dict[str, Any] = {"sources": sources, "weights": {"tars": 1}, "samples_per_shard": 7}
    mix(MixRecipe.model_validate(options | {"stop": "all_exhausted", "run": {"workers": 1}}), str(folder / "mixed"))
    return folder / "mixed"


def make_selection(folder: Path, _: str) -> Path:
    path = write_metadata(folder / "metadata.parquet", [f"https://a.example/{number}.jpg" for number in range(ROWS)])
    select(SelectRecipe(input=[path], run=SelectRun(workers=1)), str(folder / "selected"))
    return folder / "selected"


def make_download(folder: Path, _: str) -> Path:
    ends = [f"{number}.jpg" if number % 4 else "http_404" for number in range(ROWS)]
    boxes = [[[0.1, 0.1, 0.5, 0.5]] * (number % 3) for number in range(ROWS)]
    addresses: list[str | None] = [f"https://a.example/{end}" for end in ends]
    path = write_metadata(folder / "metadata.parquet", addresses, face_bboxes=boxes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download_part, "download_images", StandIn())
        patch.setattr("pipelines.img2dataset.placement.ensure_environment", lambda _: None)
        download(DownloadRecipe(input=[path], urls_per_shard=5, run=DownloadRun(workers=1)), str(folder / "downloaded"))
    return folder / "downloaded"


KINDS: dict[str, Callable[[Path, str], Path]] = {
    name.removeprefix("make_"): make for name, make in list(globals().items()) if name.startswith("make_")
}
for helper in ("boxes", "tags"):
    del KINDS[helper]


def list_rows(output: Path) -> Iterator[dict[str, Any]]:
    """Our rows as the loader is to have them: of tars those of the index."""
    data = sorted((output / "data").glob("*.parquet"))
    for path in data or sorted((output / "index").glob("*.parquet")):
        table = pq.read_table(path)
        for row in table.to_pylist():
            yield {field.name: expect(row[field.name], field.type) for field in table.schema}


def expect(value: Any, kind: pa.DataType) -> Any:
    """A value as the loader has it: a struct has all its fields, also where it is null."""
    if pa.types.is_dictionary(kind):
        return expect(value, kind.value_type)
    if kind == IMAGE:
        found = value or {"bytes": None, "path": None}
        return {"bytes": found["bytes"] and pixels(Image.open(io.BytesIO(found["bytes"]))), "path": found["path"]}
    if pa.types.is_struct(kind):
        return {field.name: expect(value and value[field.name], field.type) for field in kind}
    if pa.types.is_list(kind):
        if pa.types.is_struct(kind.value_type):
            return [expect(each, kind.value_type) for each in ([None] if value is None else value)]
        return None if value is None else [expect(each, kind.value_type) for each in value]
    return value


def pixels(image: Image.Image) -> tuple[tuple[int, int], bytes]:
    """The size and the pixels of a picture."""
    return image.size, image.convert("RGB").tobytes()


def clean(value: Any) -> Any:
    """What the loader yields, with the names of columns in place of ids, and text in place of bytes."""
    if isinstance(value, dict):
        return {unquote(key.rpartition("/")[2]): clean(each) for key, each in value.items()}
    if isinstance(value, list):
        return [clean(each) for each in value]
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Image.Image):
        return pixels(value)
    return None if isinstance(value, float) and math.isnan(value) else value


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_of_each_kind(kind: str, folder: Path, images: str) -> None:
    place = folder / kind
    place.mkdir()
    output = KINDS[kind](place, images)
    written = refresh_card(str(output), "cc-by-4.0")
    assert written.croissant == f"{output}/croissant.json"
    described = json.loads((output / "croissant.json").read_text())
    assert (described["conformsTo"], described["license"]) == ("http://mlcommons.org/croissant/1.1", "cc-by-4.0")
    for file in described["distribution"]:
        if file["@type"] == "cr:FileObject":
            data = (output / file["contentUrl"]).read_bytes()
            assert (hashlib.sha256(data).hexdigest(), f"{len(data)} B") == (file["sha256"], file["contentSize"])
    listed = {file["@id"] for file in described["distribution"]}
    assert listed - {"rows-files"} == {
        str(path.relative_to(output)) for name in ("data", "index", "quarantine") for path in (output / name).glob("*")
    }
    dataset = mlcroissant.Dataset(jsonld=str(output / "croissant.json"))
    found = [clean(record) for record in itertools.islice(dataset.records("rows"), TEN)]
    assert len(found) == TEN
    assert found == list(itertools.islice(list_rows(output), TEN))
    assert verify(str(output))[1] == []


def test_the_validator(folder: Path, images: str) -> None:
    output = make_annotations(folder / "validated", images)
    refresh_card(str(output))
    command = [sys.executable, "-c", VALIDATE, "validate", "--jsonld", str(output / "croissant.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower()
