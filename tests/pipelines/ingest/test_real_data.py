"""The real sets come out part by part as an independent reading has them, the same bytes twice, every offset true."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import webdataset
from datasets import load_dataset
from PIL import Image

from curation.documents.filters import DocumentFilters
from curation.images.filters import ImageFilters
from pipelines.verify.run import verify
from schemas.records.document_storage import from_row
from tests.pipelines.ingest.test_ingest import documents_of, samples_of
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.published import take_in
from tests.pipelines.support.sets import rows

SETS = {"obelics": 36, "mint-html": 36, "mint-pdf": 36, "mint-arxiv": 31}
NO_FILTERS = DocumentFilters(
    max_images=None, max_characters=None, repeated_image="keep", image=ImageFilters(min_side=None, max_aspect=None)
)

Parts = list[str | bytes | Image.Image]
"""Of a document as it is published: texts, and images as files or frames."""


def folder_of(data: Path, source: str) -> Path:
    return data / "interleaved" / source.replace("-", "_")


def ingested(data: Path, source: str, output: Path, **options: Any) -> None:
    """The set without filters, in shards of ten."""
    folder = folder_of(data, source)
    files = f"{folder}/*.{'tar' if source in ('mint-pdf', 'mint-arxiv') else 'parquet'}"
    images = str(folder / "url_map.json") if (folder / "url_map.json").exists() else None
    values = {"samples_per_shard": 10, "filters": NO_FILTERS} | options
    totals = take_in(source, files, output, images, **values)
    assert (totals.rows_in, totals.rows_out, totals.quarantined) == (SETS[source], SETS[source], 0)


def published(data: Path, source: str) -> Iterator[Parts]:
    """The parts of each document, read without any of our readers."""
    folder = folder_of(data, source)
    if source in ("obelics", "mint-html"):
        files = json.loads((folder / "url_map.json").read_text())
        for path in sorted(folder.glob("*.parquet")):
            for row in pq.read_table(path, columns=["texts", "images"]).to_pylist():
                yield [
                    text if text is not None else (folder / files[url]["file"]).read_bytes()
                    for text, url in zip(row["texts"], row["images"], strict=True)
                    if text is not None or url is not None
                ]
        return
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        for name, content in files.items():
            if name.endswith(".json"):
                yield list(of_paper(json.loads(content), files.get(name.replace(".json", ".tiff"))))


def of_paper(content: dict[str, Any], tiff: bytes | None) -> Iterator[str | Image.Image]:
    images = content.get("images") or [None] * len(content["texts"])
    entries = [entry for entry in content.get("image_metadata") or [] if "page" in entry]  # papers have none
    places = {f"page_{entry['page']}_image_{entry['xref']}": at for at, entry in enumerate(entries)}
    shown = 0
    for text, reference in zip(content["texts"], images, strict=True):
        if text is not None:
            yield text
        elif reference is not None and tiff is not None:
            image = Image.open(io.BytesIO(tiff))
            image.seek(places.get(reference, shown))
            shown += 1
            yield image.convert("RGB")


@pytest.mark.parametrize("source", SETS)
def test_parts_are_those_of_the_source(data: Path, tmp_path: Path, source: str) -> None:
    ingested(data, source, tmp_path / "out")
    assert verify(str(tmp_path / "out"))[1] == []
    expected = list(published(data, source))
    documents = documents_of(tmp_path / "out")
    assert len(documents) == len(expected)
    for document, there in zip(documents, expected, strict=True):
        texts = [part for part in there if not isinstance(part, str) or part.strip()]
        assert len(document.parts) == len(texts)
        for part, original in zip(document.parts, texts, strict=True):
            if isinstance(original, str):
                assert part == original
                continue
            assert isinstance(part, int)
            found = document.images[part]
            if isinstance(original, bytes):
                assert found.data == original
            else:
                assert (found.width, found.height) == original.size
                shown = np.asarray(Image.open(io.BytesIO(found.data)).convert("RGB"))
                assert np.array_equal(shown, np.asarray(original))


@pytest.mark.parametrize("source", SETS)
def test_the_same_bytes_twice_that_others_read(data: Path, tmp_path: Path, source: str) -> None:
    for name in ("one", "two"):
        ingested(data, source, tmp_path / name)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    urls = sorted(map(str, (tmp_path / "one/data").glob("*.tar")))
    read = {sample["__key__"]: sample for sample in webdataset.WebDataset(urls, shardshuffle=False)}
    seen = 0
    for row, members in samples_of(tmp_path / "one"):
        seen += 1
        assert {ending: read[row["key"]][ending] for ending in members} == members
        assert len(members) == 1 + row["images"] == 1 + len(row["image_details"])
    assert seen == len(read) == SETS[source]


@pytest.mark.parametrize("source", SETS)
def test_datasets_and_polars_read_the_tables(data: Path, tmp_path: Path, source: str) -> None:
    ingested(data, source, tmp_path / "out", format="parquet")
    documents = [from_row(row) for row in rows(tmp_path / "out")]
    files = f"{tmp_path}/out/data/*.parquet"
    loaded = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["key"] == [document.key for document in documents]
    for row, document in zip(loaded, documents, strict=True):
        sizes = [image.size for image in row["images"] if image is not None]
        assert [text for text in row["texts"] if text is not None] == [p for p in document.parts if isinstance(p, str)]
        assert len(sizes) == len(document.images)
    frame = pl.read_parquet(files, columns=["key", "texts"])
    assert frame["texts"].to_list() == [list(texts) for texts in loaded["texts"]]
