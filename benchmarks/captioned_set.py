"""Writes pictures and their captions, or interleaved documents, as a finished set of training shards."""

import hashlib
import io
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from PIL import Image

from pipelines.output.training_shards import Record, ShardWriter, make_sample
from pipelines.output.writer import commit
from schemas.output_set.manifest import Manifest
from schemas.output_set.recipe_file import RECIPE_FILE, dump_yaml
from schemas.records.captioned_image import CaptionedImage
from schemas.records.document import Document, DocumentImage
from schemas.storage.folder import Folder

SHARD = 500  # samples


def write_captioned_set(folder: Path, samples: Iterable[tuple[Image.Image, str]]) -> None:
    """Writes a set as `shardloom ingest` does, but for the tokens, which its index does not count."""
    write_records(folder, (make_record(number, *sample) for number, sample in enumerate(samples)), True)


def write_document_set(folder: Path, documents: Iterable[list[tuple[Image.Image, str]]]) -> None:
    """Writes documents in which each picture is followed by its text, as `write_captioned_set` does."""
    write_records(folder, (make_document(number, *parts) for number, parts in enumerate(documents)), False)


def write_records(folder: Path, records: Iterable[Record], has_captioned_images: bool) -> None:
    """Writes records as shards with their indexes and manifests."""
    output = Folder(str(folder))
    output.make_folder()
    output.write(RECIPE_FILE, dump_yaml({"kind": "ingest"}))
    writer = ShardWriter(output, "webdataset", has_captioned_images, None)
    waiting, shard = iter(records), 0
    while held := [make_sample(record, folder.name, None) for record in islice(waiting, SHARD)]:
        written = writer.write(f"{shard:08d}", held)
        manifest = Manifest.build(
            f"{shard:08d}", "0" * 64, inputs=[], rows_in=len(held), data=written.data, others=[written.index]
        )
        commit(output, manifest)
        shard += 1


def make_record(number: int, image: Image.Image, text: str) -> CaptionedImage:
    """Makes the record of a picture, as JPEG, and its text."""
    data = encode_jpeg(image)
    return CaptionedImage(
        key=f"{number:09d}",
        uid="",
        url="",
        source_shard="",
        source_key="",
        width=image.width,
        height=image.height,
        sha256=hashlib.sha256(data).hexdigest(),
        alt_text="",
        text=text,
        captions="[]",
        metadata="{}",
        extension="jpg",
        image=data,
    )


def make_document(number: int, *shown: tuple[Image.Image, str]) -> Document:
    """Makes the record of pictures, as JPEG, each before its text."""
    images = [
        DocumentImage(data, "jpg", image.width, image.height, hashlib.sha256(data).hexdigest(), None, "{}")
        for image, data in ((image, encode_jpeg(image)) for image, _ in shown)
    ]
    parts = tuple(part for place, (_, text) in enumerate(shown) for part in (place, text))
    return Document(f"{number:09d}", None, "documents", None, parts, tuple(images), "{}")


def encode_jpeg(image: Image.Image) -> bytes:
    """Returns the picture as a JPEG file."""
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90)
    return data.getvalue()
