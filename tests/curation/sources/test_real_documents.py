"""Every document of the sample data, part by part, against a reading that shares no code with the readers."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from curation.documents.filters import DocumentFilters, filter_document
from curation.images.decode import DecodeLimits, decode
from curation.images.filters import ImageFilters
from curation.sources import SOURCES, ReadOptions
from schemas.records.document import ParsedDocument
from schemas.records.document_storage import from_members, to_members
from schemas.tar.reader import TarReader

LIMITS = DecodeLimits()
OFF = DocumentFilters(max_images=None, image=ImageFilters(min_side=None, max_aspect=None), repeated_image="keep")
WEB = {"mint-html": "mint_html", "obelics": "obelics"}
TARS = {"mint-pdf": "mint_pdf", "mint-arxiv": "mint_arxiv"}

Pixels = NDArray[np.uint8]


def read_parquet(name: str, folder: Path) -> list[ParsedDocument]:
    reader = SOURCES.find(name)
    drafts = []
    for path in sorted(folder.glob("*.parquet")):
        file = pq.ParquetFile(path)
        there = set(file.schema_arrow.names)
        assert there >= set(reader.columns)
        assert reader.optional is not None
        columns = [*reader.columns, *(column for column in reader.optional if column in there)]
        for group in range(file.num_row_groups):
            for row in file.read_row_group(group, columns=columns).to_pylist():
                draft = reader.read(row, ReadOptions())
                assert isinstance(draft, ParsedDocument)
                drafts.append(draft)
    return drafts


def read_tars(name: str, folder: Path) -> list[ParsedDocument]:
    drafts = []
    for path in sorted(folder.glob("*.tar")):
        with path.open("rb") as file:
            for sample in TarReader(file):
                draft = SOURCES.find(name).read(sample, ReadOptions())
                assert isinstance(draft, ParsedDocument)
                drafts.append(draft)
    return drafts


def looked_up(draft: ParsedDocument, store: dict[str, bytes]) -> ParsedDocument:
    images = (
        replace(image, source=store.get(image.source, image.source)) if isinstance(image.source, str) else image
        for image in draft.images
    )
    return replace(draft, images=tuple(images))


@pytest.mark.parametrize("name", WEB)
def test_web_documents(name: str, data: Path) -> None:
    folder = data / "interleaved" / WEB[name]
    drafts = read_parquet(name, folder)
    rows = [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert len(drafts) == len(rows) == 36
    files = json.loads((folder / "url_map.json").read_text())
    store = {url: (folder / entry["file"]).read_bytes() for url, entry in files.items()}
    images = 0
    for draft, row in zip(drafts, rows, strict=True):
        shown = [text if text is not None else url for text, url in zip(row["texts"], row["images"], strict=True)]
        assert [part if isinstance(part, str) else draft.images[part].source for part in draft.parts] == shown
        page = row["url"] if name == "mint-html" else json.loads(row["general_metadata"])["url"]
        result = filter_document(looked_up(draft, store), "k", name, OFF, LIMITS)
        document = result.document
        assert (document.url, result.dropped) == (page, {})
        stored = [part if isinstance(part, str) else document.images[part] for part in document.parts]
        for part, expected in zip(stored, shown, strict=True):
            if isinstance(part, str):
                assert part == expected
                continue
            images += 1
            assert part.url == expected
            assert part.data == (folder / files[expected]["file"]).read_bytes()
            assert part.sha256 == files[expected]["sha256_of_file"]
            with Image.open(io.BytesIO(part.data)) as picture:
                assert (part.width, part.height) == ImageOps.exif_transpose(picture).size
                assert part.extension == {"JPEG": "jpg", "PNG": "png"}[picture.format or ""]
        assert from_members("k", dict(to_members(document))) == document
    assert (
        images
        == sum(url is not None for row in rows for url in row["images"])
        == {"mint-html": 149, "obelics": 134}[name]
    )


def test_hashes_and_metadata_go_to_their_images(data: Path) -> None:
    folder = data / "interleaved/mint_html"
    files = json.loads((folder / "url_map.json").read_text())
    told = [
        (image.source, json.loads(image.metadata))
        for draft in read_parquet("mint-html", folder)
        for image in draft.images
    ]
    assert len(told) == 149
    for url, about in told:
        assert about["hash"] == files[url]["sha256_of_original"]
        assert about["metadata"]["url"] == url


def test_obelics_metadata_is_that_of_its_image(data: Path) -> None:
    for draft in read_parquet("obelics", data / "interleaved/obelics"):
        for image in draft.images:
            assert json.loads(image.metadata)["src"] == image.source


def plain_documents(folder: Path) -> Iterator[tuple[str, dict[str, Any], list[Pixels]]]:
    """Name, json and frames of each document, read with tarfile and Pillow."""
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
        for name, content in files.items():
            if not name.endswith(".json"):
                continue
            stem = name.removesuffix(".json")
            frames = []
            if f"{stem}.tiff" in files:
                with Image.open(io.BytesIO(files[f"{stem}.tiff"])) as picture:
                    for number in range(picture.n_frames):  # type: ignore[attr-defined]
                        picture.seek(number)
                        frames.append(np.asarray(picture.copy().convert("RGB")))
            yield stem, json.loads(content), frames


@pytest.mark.parametrize("name", TARS)
def test_documents_with_frames(name: str, data: Path) -> None:
    folder = data / "interleaved" / TARS[name]
    drafts = read_tars(name, folder)
    plain = list(plain_documents(folder))
    assert [draft.uid for draft in drafts] == [stem for stem, _, _ in plain]
    assert len(drafts) == {"mint-pdf": 36, "mint-arxiv": 31}[name]
    compared = 0
    for draft, (_, content, frames) in zip(drafts, plain, strict=True):
        names = [
            f"page_{entry['page']}_image_{entry['xref']}" if "page" in entry else f"figure_{number}"
            for number, entry in enumerate(content["image_metadata"])
        ]
        result = filter_document(draft, "k", name, OFF, LIMITS)
        document = result.document
        assert result.dropped == {}
        assert document.url == content["url"]
        assert len(document.parts) == len(content["texts"])
        for part, text, reference in zip(document.parts, content["texts"], content["images"], strict=True):
            if isinstance(part, str):
                assert (part, None) == (text, reference)
                continue
            assert text is None
            frame = frames[names.index(reference)]
            image = document.images[part]
            assert np.array_equal(decode(image.data, DecodeLimits()), frame)
            assert (image.height, image.width, 3) == frame.shape
            assert json.loads(image.metadata)["reference"] == reference
            assert image.sha256 == hashlib.sha256(image.data).hexdigest()
            compared += 1
        assert from_members("k", dict(to_members(document))) == document
    assert compared == sum(len(frames) for _, _, frames in plain) == {"mint-pdf": 115, "mint-arxiv": 123}[name]


def test_papers_without_tiff_keep_their_text(data: Path) -> None:
    folder = data / "interleaved/mint_arxiv"
    texts = {stem: content["texts"] for stem, content, frames in plain_documents(folder) if not frames}
    bare = [draft for draft in read_tars("mint-arxiv", folder) if not draft.images]
    assert len(bare) == len(texts) == 8
    for draft in bare:
        assert list(filter_document(draft, "k", "mint-arxiv", OFF, LIMITS).document.parts) == texts[draft.uid or ""]


def test_frames_stay_jpegs(data: Path) -> None:
    drafts = read_tars("mint-pdf", data / "interleaved/mint_pdf")
    starts = [image.source[:2] for draft in drafts for image in draft.images if isinstance(image.source, bytes)]
    assert starts == [b"\xff\xd8"] * 115


def test_datacomp_shards_as_they_lie(data: Path) -> None:
    found = 0
    for path in sorted((data / "datacomp_small").glob("*.tar")):
        with tarfile.open(path) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
        with path.open("rb") as file:
            for sample in TarReader(file):
                draft = SOURCES.find("datacomp").read(sample, ReadOptions())
                about = json.loads(files[f"{sample.key}.json"])
                assert draft.image.source == files[f"{sample.key}.jpg"]  # type: ignore[union-attr]
                assert draft.text == files[f"{sample.key}.txt"].decode()  # type: ignore[union-attr]
                assert (draft.uid, draft.url) == (about["uid"], about["url"])
                found += 1
    assert found == 223
