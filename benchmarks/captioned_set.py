"""Writes pictures and their captions as a finished set of training shards."""

import hashlib
import io
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from PIL import Image

from pipelines.output.training_shards import ShardWriter, make_sample
from pipelines.output.writer import commit
from schemas.output_set.manifest import Manifest
from schemas.output_set.recipe_file import RECIPE_FILE, dump_yaml
from schemas.records.captioned_image import CaptionedImage
from schemas.storage.folder import Folder

SHARD = 500  # samples


def write_captioned_set(folder: Path, samples: Iterable[tuple[Image.Image, str]]) -> None:
    """Writes a set as `shardloom ingest` does, but for the tokens, which its index does not count."""
    output = Folder(str(folder))
    output.make_folder()
    output.write(RECIPE_FILE, dump_yaml({"kind": "ingest"}))
    writer = ShardWriter(output, "webdataset", True, None)
    records = (make_record(number, *sample) for number, sample in enumerate(samples))
    shard = 0
    while held := [make_sample(record, folder.name, None) for record in islice(records, SHARD)]:
        written = writer.write(f"{shard:08d}", held)
        manifest = Manifest.build(
            f"{shard:08d}", "0" * 64, inputs=[], rows_in=len(held), data=written.data, others=[written.index]
        )
        commit(output, manifest)
        shard += 1


def make_record(number: int, image: Image.Image, text: str) -> CaptionedImage:
    """Makes the record of a picture, as JPEG, and its text."""
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90)
    return CaptionedImage(
        key=f"{number:09d}",
        uid="",
        url="",
        source_shard="",
        source_key="",
        width=image.width,
        height=image.height,
        sha256=hashlib.sha256(data.getvalue()).hexdigest(),
        alt_text="",
        text=text,
        captions="[]",
        metadata="{}",
        extension="jpg",
        image=data.getvalue(),
    )
